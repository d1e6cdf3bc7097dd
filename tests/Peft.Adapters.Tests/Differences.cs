namespace Peft.Adapters.Tests;

/// <summary>Gradients against central differences.</summary>
internal static class Differences
{
    /// <summary>The gradient of a scalar function agrees with its differences at every element.</summary>
    public static void Agree(Func<Tensor, Tensor> function, Tensor at, double step = 5e-3, double tolerance = 2e-3)
    {
        var input = at.detach().clone().requires_grad_();
        function(input).backward();
        var gradient = input.grad!.contiguous().data<float>().ToArray();
        var values = at.detach().contiguous().data<float>().ToArray();
        for (var i = 0; i < values.Length; i++)
        {
            double At(double change)
            {
                using var off = torch.no_grad();
                var moved = (float[])values.Clone();
                moved[i] += (float)change;
                return function(torch.tensor(moved, at.shape)).ToDouble();
            }
            var slope = (At(step) - At(-step)) / (2 * step);
            Assert.True(
                Math.Abs(slope - gradient[i]) <= tolerance * Math.Max(1, Math.Abs(slope)),
                $"element {i}: gradient {gradient[i]}, difference {slope}");
        }
    }
}
