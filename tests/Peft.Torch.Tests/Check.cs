namespace Peft.Torch.Tests;

/// <summary>Serves all fused tests one after the other: some switch the kernels off for the whole process.</summary>
[CollectionDefinition(Name)]
public sealed class FusedCollection
{
    public const string Name = "fused operations";
}

/// <summary>Random inputs, comparison, and gradients checked against finite differences in float64.</summary>
internal static class Check
{
    internal static Tensor Normal(Generator random, ScalarType dtype, params long[] shape) =>
        torch.randn(shape, ScalarType.Float64, generator: random).to(dtype);

    internal static Tensor Leaf(Generator random, ScalarType dtype, params long[] shape) =>
        Normal(random, dtype, shape).detach().requires_grad_();

    /// <summary>Largest difference over largest value.</summary>
    internal static double Distance(Tensor actual, Tensor expected)
    {
        Assert.Equal(expected.shape, actual.shape);
        using var a = actual.detach().to(ScalarType.Float64).contiguous();
        using var e = expected.detach().to(ScalarType.Float64).contiguous();
        var (left, right) = (a.data<double>().ToArray(), e.data<double>().ToArray());
        double most = 0, scale = 1e-12;
        for (var i = 0; i < left.Length; i++)
        {
            Assert.False(double.IsNaN(left[i]), $"element {i} is not a number");
            most = Math.Max(most, Math.Abs(left[i] - right[i]));
            scale = Math.Max(scale, Math.Abs(right[i]));
        }
        return most / scale;
    }

    internal static void Near(Tensor actual, Tensor expected, double tolerance) =>
        Assert.InRange(Distance(actual, expected), 0, tolerance);

    internal static void SameBits(Tensor actual, Tensor expected)
    {
        Assert.Equal(expected.dtype, actual.dtype);
        Assert.Equal(expected.shape, actual.shape);
        Assert.True(actual.contiguous().bytes.SequenceEqual(expected.contiguous().bytes), "the bits differ");
    }

    /// <summary>Outputs and gradients of two functions of the same inputs agree.</summary>
    internal static void Same(
        Func<Tensor[], Tensor> actual, Func<Tensor[], Tensor> expected, Tensor[] inputs, double tolerance,
        bool sameType = true)
    {
        var (left, right) = (actual(inputs), expected(inputs));
        if (sameType) Assert.Equal(right.dtype, left.dtype);
        Near(left, right, tolerance);
        using var random = new Generator(99);
        var direction = Normal(random, ScalarType.Float64, left.shape);
        var leaves = inputs.Where(input => input.requires_grad).ToArray();
        var found = Peft.Torch.Autograd.Gradients.grad([left], leaves, [direction.to(left.dtype)]);
        var known = Peft.Torch.Autograd.Gradients.grad([right], leaves, [direction.to(right.dtype)]);
        for (var i = 0; i < leaves.Length; i++)
        {
            Assert.Equal(leaves[i].dtype, found[i].dtype);
            Near(found[i], known[i], tolerance);
        }
    }

    /// <summary>Gradients agree with central differences. Inputs are float64; those that require no gradient are left
    /// alone.</summary>
    internal static void Gradients(Func<Tensor[], Tensor> function, Tensor[] inputs, double tolerance = 1e-6)
    {
        const double Step = 1e-5;
        using var random = new Generator(7);
        var output = function(inputs);
        var direction = Normal(random, ScalarType.Float64, output.shape);
        var leaves = inputs.Where(input => input.requires_grad).ToArray();
        var found = Peft.Torch.Autograd.Gradients.grad([output], leaves, [direction]);
        for (var k = 0; k < inputs.Length; k++)
        {
            if (!inputs[k].requires_grad) continue;
            var values = inputs[k].detach().contiguous().data<double>().ToArray();
            var numeric = new double[values.Length];
            for (var i = 0; i < values.Length; i++)
            {
                numeric[i] = (At(k, values, i, Step) - At(k, values, i, -Step)) / (2 * Step);
            }
            Near(found[Array.IndexOf(leaves, inputs[k])], torch.tensor(numeric, inputs[k].shape), tolerance);
        }

        double At(int k, double[] values, int i, double step)
        {
            using var scope = torch.NewDisposeScope();
            using var quiet = torch.no_grad();
            var moved = (double[])values.Clone();
            moved[i] += step;
            var changed = (Tensor[])inputs.Clone();
            changed[k] = torch.tensor(moved, inputs[k].shape);
            return (function(changed) * direction).sum().item<double>();
        }
    }

    /// <summary>Runs with the kernels, then composed of libtorch's operations as on other devices.</summary>
    internal static void WithAndWithoutKernels(Action test)
    {
        test();
        Kernels.Enabled = false;
        try
        {
            test();
        }
        finally
        {
            Kernels.Enabled = true;
        }
    }
}

/// <summary>The product of batches of matrices, spelled out: torch.matmul ends the program where shapes do not
/// meet.</summary>
internal static class Products
{
    internal static Tensor Times(this Tensor left, Tensor right) => torch.einsum("...ij,...jk->...ik", left, right);
}
