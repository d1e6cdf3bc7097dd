namespace Peft.Torch;

internal static partial class Composed
{
    public static Tensor rotary(Tensor x, Tensor cos, Tensor sin)
    {
        using var scope = torch.NewDisposeScope();
        var (rotated, size) = (cos.size(2), x.size(3));
        var head = x.narrow(3, 0, rotated);
        var turned = torch.cat([head.narrow(3, rotated / 2, rotated / 2).neg(), head.narrow(3, 0, rotated / 2)], 3);
        var result = (head * cos.unsqueeze(2) + turned * sin.unsqueeze(2)).to(x.dtype);
        if (rotated < size) result = torch.cat([result, x.narrow(3, rotated, size - rotated)], 3);
        return result.MoveToOuterDisposeScope();
    }
}
