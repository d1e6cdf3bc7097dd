namespace Peft.Torch;

internal static partial class Composed
{
    /// <summary>The loss over whole logits.</summary>
    public static Tensor linear_cross_entropy(Tensor hidden, Tensor weight, Tensor targets, double softcap)
    {
        using var scope = torch.NewDisposeScope();
        var wide = hidden.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var logits = torch.nn.functional.linear(hidden, weight).to(wide);
        if (softcap > 0)
            logits = (logits / softcap).tanh() * softcap;
        return torch.nn.functional.cross_entropy(logits, targets, reduction: torch.nn.Reduction.None).MoveToOuterDisposeScope();
    }
}
