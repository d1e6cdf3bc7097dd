namespace Peft.Torch.Tests.Fused;

/// <summary>RMSNorm, SwiGLU and rotary embedding.</summary>
[Collection(FusedCollection.Name)]
public sealed class LayerOperationTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(3);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    private static Tensor Norm(Tensor x, Tensor weight, double eps)
    {
        var wide = x.dtype == ScalarType.Float64 ? x : x.to(ScalarType.Float32);
        var normal = wide * (wide.pow(2).mean([-1], keepdim: true) + eps).rsqrt();
        return weight * normal.to(x.dtype);
    }

    private static Tensor Rotated(Tensor x, Tensor cos, Tensor sin)
    {
        var part = x.narrow(3, 0, cos.size(2));
        var half = cos.size(2) / 2;
        var turned = torch.cat([part.narrow(3, half, half).neg(), part.narrow(3, 0, half)], 3);
        var result = part * cos.unsqueeze(2) + turned * sin.unsqueeze(2);
        return cos.size(2) == x.size(3) ? result
            : torch.cat([result, x.narrow(3, cos.size(2), x.size(3) - cos.size(2))], 3);
    }

    [Fact]
    public void Rms_norm_gradients_match_finite_differences() => Check.WithAndWithoutKernels(() => Check.Gradients(
        t => F.rms_norm(t[0], t[1], 1e-5),
        [Check.Leaf(_random, ScalarType.Float64, 3, 2, 5), Check.Leaf(_random, ScalarType.Float64, 5)]));

    [Theory]
    [InlineData(ScalarType.Float32, 1e-6)]
    [InlineData(ScalarType.BFloat16, 0.02)]
    [InlineData(ScalarType.Float16, 0.002)]
    public void Rms_norm_equals_the_composed_form(ScalarType dtype, double tolerance)
    {
        foreach (var weightToo in new[] { true, false })
        {
            Check.Same(t => F.rms_norm(t[0].transpose(0, 1), t[1], 1e-6), t => Norm(t[0].transpose(0, 1), t[1], 1e-6),
                [Check.Leaf(_random, dtype, 33, 9), Check.Normal(_random, dtype, 33).requires_grad_(weightToo)],
                tolerance);
        }
    }

    [Fact]
    public void Rms_norm_in_bf16_rounds_before_the_weight_as_hugging_face_does()
    {
        var (x, weight) =
            (Check.Normal(_random, ScalarType.BFloat16, 64, 48), Check.Normal(_random, ScalarType.BFloat16, 48));
        Assert.True(Check.Distance(F.rms_norm(x, weight, 1e-6), Norm(x, weight, 1e-6)) < 0.005);
        Check.Near(F.rms_norm(torch.zeros([2, 48]), torch.ones([48]), 1e-6), torch.zeros([2, 48]), 0);
    }

    [Fact]
    public void Swiglu_gradients_match_finite_differences() => Check.WithAndWithoutKernels(() => Check.Gradients(
        t => F.swiglu(t[0], t[1]),
        [Check.Leaf(_random, ScalarType.Float64, 3, 5), Check.Leaf(_random, ScalarType.Float64, 3, 5)]));

    [Theory]
    [InlineData(ScalarType.Float32, 1e-6)]
    [InlineData(ScalarType.BFloat16, 0.02)]
    public void Swiglu_equals_the_composed_form(ScalarType dtype, double tolerance)
    {
        Check.Same(t => F.swiglu(t[0].narrow(1, 0, 50), t[0].narrow(1, 50, 50)),
            t => torch.nn.functional.silu(t[0].narrow(1, 0, 50)) * t[0].narrow(1, 50, 50),
            [(Check.Normal(_random, dtype, 30, 100) * 4).detach().requires_grad_()], tolerance);
    }

    [Fact]
    public void Swiglu_holds_at_the_ends_of_the_range()
    {
        var gate = torch.tensor(new[] { -200f, -88f, -30f, 0f, 30f, 88f, 200f, float.MaxValue }).requires_grad_();
        var y = F.swiglu(gate, torch.ones([8]));
        Check.Near(y.narrow(0, 0, 7), torch.nn.functional.silu(gate).narrow(0, 0, 7), 1e-6);
        y.sum().backward();
        Check.Near(gate.grad!, torch.tensor(new[] { 0f, 0f, 0f, 0.5f, 1f, 1f, 1f, 1f }), 1e-6);
        Assert.True(float.IsNaN(F.swiglu(torch.tensor([float.NaN]), torch.ones([1])).data<float>().ToArray()[0]));
    }

    [Fact]
    public void Tanh_gelu_gradients_match_finite_differences() => Check.WithAndWithoutKernels(() =>
    {
        Check.Gradients(t => F.gelu_tanh(t[0]), [Check.Leaf(_random, ScalarType.Float64, 3, 5)]);
        Check.Gradients(
            t => F.geglu_tanh(t[0], t[1]),
            [Check.Leaf(_random, ScalarType.Float64, 3, 5), Check.Leaf(_random, ScalarType.Float64, 3, 5)]);
    });

    [Theory]
    [InlineData(ScalarType.Float32, 2e-6)]
    [InlineData(ScalarType.BFloat16, 0.02)]
    public void Tanh_gelu_equals_the_composed_form(ScalarType dtype, double tolerance)
    {
        Check.Same(t => F.gelu_tanh(t[0]), t => Composed(t[0]),
            [(Check.Normal(_random, dtype, 30, 101) * 4).detach().requires_grad_()], tolerance);
        Check.Same(t => F.geglu_tanh(t[0].narrow(1, 0, 50), t[0].narrow(1, 50, 50)),
            t => Composed(t[0].narrow(1, 0, 50)) * t[0].narrow(1, 50, 50),
            [(Check.Normal(_random, dtype, 30, 100) * 4).detach().requires_grad_()], tolerance);

        static Tensor Composed(Tensor x)
        {
            var wide = x.to(ScalarType.Float32);
            return (0.5 * wide * (1 + (Math.Sqrt(2 / Math.PI) * (wide + (0.044715 * wide.pow(3)))).tanh())).to(x.dtype);
        }
    }

    [Fact]
    public void Tanh_gelu_holds_at_the_ends_of_the_range()
    {
        var x = torch.tensor(new[] { -1e6f, -200f, -30f, 0f, 30f, 200f, 1e6f }).requires_grad_();
        var y = F.gelu_tanh(x);
        Check.Near(y, torch.tensor(new[] { 0f, 0f, 0f, 0f, 30f, 200f, 1e6f }), 1e-6);
        y.sum().backward();
        Check.Near(x.grad!, torch.tensor(new[] { 0f, 0f, 0f, 0.5f, 1f, 1f, 1f }), 1e-6);
        Assert.True(float.IsNaN(F.gelu_tanh(torch.tensor([float.NaN])).data<float>().ToArray()[0]));
    }

    [Theory]
    [InlineData(1, 6)]
    [InlineData(2, 6)]
    [InlineData(1, 4)]
    public void Rotary_gradients_match_finite_differences(long batches, long rotated) =>
        Check.WithAndWithoutKernels(() =>
    {
        var (cos, sin) = (Check.Normal(_random, ScalarType.Float64, batches, 3, rotated),
            Check.Normal(_random, ScalarType.Float64, batches, 3, rotated));
        Check.Gradients(t => F.rotary(t[0], cos, sin), [Check.Leaf(_random, ScalarType.Float64, 2, 3, 2, 6)]);
        Check.Same(t => F.rotary(t[0], cos, sin), t => Rotated(t[0], cos, sin),
            [Check.Leaf(_random, ScalarType.Float64, 2, 3, 2, 6)], 1e-12);
    });

    [Theory]
    [InlineData(ScalarType.Float32, 1e-6)]
    [InlineData(ScalarType.BFloat16, 0.02)]
    public void Rotary_takes_strided_heads(ScalarType dtype, double tolerance)
    {
        var (cos, sin) =
            (Check.Normal(_random, ScalarType.Float32, 1, 5, 8), Check.Normal(_random, ScalarType.Float32, 1, 5, 8));
        Check.Same(t => F.rotary(t[0].transpose(1, 2), cos, sin),
            t => Rotated(t[0].transpose(1, 2).to(ScalarType.Float32), cos, sin).to(dtype),
            [Check.Leaf(_random, dtype, 2, 3, 5, 8)], tolerance);
        Check.Same(t => F.rotary(t[0].permute(0, 2, 3, 1), cos, sin),
            t => Rotated(t[0].permute(0, 2, 3, 1).to(ScalarType.Float32), cos, sin).to(dtype),
            [Check.Leaf(_random, dtype, 2, 8, 5, 3)], tolerance);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float64)]
    public void No_rows_give_no_rows(ScalarType dtype)
    {
        var (x, weight) = (Check.Leaf(_random, dtype, 0, 8), Check.Leaf(_random, dtype, 8));
        Assert.Equal([0L, 8], F.swiglu(x, x).shape);
        Assert.Equal([0L, 8], F.gelu_tanh(x).shape);
        Assert.Equal(
            [0L, 2, 2, 4],
            F.rotary(x.view(0, 2, 2, 2).repeat(1, 1, 1, 2), torch.ones(1, 2, 4), torch.ones(1, 2, 4)).shape);
        var y = F.rms_norm(x, weight, 1e-6);
        Assert.Equal([0L, 8], y.shape);
        Gradients.backward(y.sum());
        Check.Near(weight.grad!, torch.zeros(8, dtype), 0);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void The_bits_do_not_depend_on_the_number_of_threads(ScalarType dtype)
    {
        var (x, weight) = (Check.Leaf(_random, dtype, 4, 70, 6, 32), Check.Leaf(_random, dtype, 32));
        var (cos, sin) = (Check.Normal(_random, ScalarType.Float32, 1, 70, 32),
            Check.Normal(_random, ScalarType.Float32, 1, 70, 32));
        var threads = TorchRuntime.Threads;
        try
        {
            var results = new[] { 1, 3 }.Select(count =>
            {
                TorchRuntime.Threads = count;
                var turned = F.rotary(F.rms_norm(x, weight, 1e-6), cos, sin);
                var y = F.swiglu(turned, x);
                return (Y: y, Slopes: Gradients.grad([y.square().sum()], [x, weight]));
            }).ToArray();
            Check.SameBits(results[1].Y, results[0].Y);
            Check.SameBits(results[1].Slopes[0], results[0].Slopes[0]);
            Check.SameBits(results[1].Slopes[1], results[0].Slopes[1]);
        }
        finally
        {
            TorchRuntime.Threads = threads;
        }
    }

    [Fact]
    public void Shapes_that_do_not_meet_are_named()
    {
        string Fails(Action act) => Assert.Throws<ArgumentException>(act).Message;
        Assert.Contains(
            "weight [D]", Fails(() => F.rms_norm(torch.ones([2, 3]), torch.ones([4]), 1e-5)), StringComparison.Ordinal);
        Assert.Contains(
            "one shape and type", Fails(() => F.swiglu(torch.ones([2, 3]), torch.ones([3, 2]))),
            StringComparison.Ordinal);
        Assert.Contains(
            "x is [B, T, H, d]",
            Fails(() => F.rotary(torch.ones([1, 2, 1, 4]), torch.ones([1, 3, 4]), torch.ones([1, 3, 4]))),
            StringComparison.Ordinal);
    }
}
