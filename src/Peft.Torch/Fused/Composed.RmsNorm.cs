namespace Peft.Torch;

internal static partial class Composed
{
    public static Tensor rms_norm(Tensor x, Tensor weight, double eps)
    {
        using var scope = torch.NewDisposeScope();
        using Scalar epsilon = eps.ToScalar();
        var wide = x.dtype == ScalarType.Float64 ? x : x.to(ScalarType.Float32);
        var normal = wide * wide.square().mean([-1], keepdim: true).add(epsilon).rsqrt();
        return (normal.to(x.dtype) * weight.to(x.dtype)).MoveToOuterDisposeScope();
    }
}
