namespace Peft.Torch;

internal static partial class Composed
{
    public static Tensor linear(Tensor x, Tensor weight, Tensor? bias) => torch.nn.functional.linear(x, weight, bias);

    public static Tensor lora_mixture_linear(Tensor x, Tensor weight, Tensor? bias, Tensor a, Tensor b, Tensor? gates, double scale,
        Tensor? loraInput)
    {
        using var scope = torch.NewDisposeScope();
        var y = linear(x, weight, bias);
        var h = torch.nn.functional.linear(loraInput ?? x, a.to(x.dtype));
        if (gates is not null)
        {
            var (G, C) = (gates.size(-1), a.size(0));
            long[] shape = [.. h.shape[..^1], G, C / G];
            h = (h.view(shape) * gates.reshape([.. h.shape[..^1], G, 1])).view(h.shape).to(x.dtype);
        }
        // The low-rank part is a product of its own: the base's stays what it is without an adapter, to the bit.
        return (y + torch.nn.functional.linear(h, b.to(x.dtype)) * scale).MoveToOuterDisposeScope();
    }
}
