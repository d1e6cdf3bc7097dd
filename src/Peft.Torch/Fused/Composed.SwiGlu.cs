namespace Peft.Torch;

internal static partial class Composed
{
    public static Tensor swiglu(Tensor gate, Tensor up)
    {
        using var activation = torch.nn.functional.silu(gate);
        return activation * up;
    }
}
