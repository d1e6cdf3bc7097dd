namespace Peft.Torch;

/// <summary>The fused operations composed of TorchSharp's, with libtorch's own gradients: for GPUs, for types without a kernel, and to
/// test the kernels by.</summary>
internal static partial class Composed
{
    /// <summary>Attention over whole score matrices. Query heads join their key head: [B Hkv, g T, d] x [B Hkv, S, d].</summary>
    public static Tensor causal_attention(Tensor q, Tensor k, Tensor v, Tensor? mask, AttentionOptions options)
    {
        using var scope = torch.NewDisposeScope();
        var (B, H, T, S, d, dv) = (q.size(0), q.size(1), q.size(2), k.size(2), q.size(3), v.size(3));
        var keyHeads = k.size(1);
        var rows = H / keyHeads * T;
        var wide = q.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var scores = torch.bmm(q.reshape(B * keyHeads, rows, d), k.reshape(B * keyHeads, S, d).transpose(1, 2)).to(wide) * options.Scale;
        if (options.Softcap > 0)
            scores = (scores / options.Softcap).tanh() * options.Softcap;
        scores = scores.view(B, H, T, S);
        if (mask is not null)
            scores = scores + mask.to(wide);
        if (HiddenKeys(q, S, options) is { } hidden)
            scores = scores.masked_fill(hidden, double.NegativeInfinity);
        // A row that sees no key has no softmax (0 / 0): zeros, as the kernels give.
        var blind = scores.detach().eq(double.NegativeInfinity).all(3, true);
        var p = scores.masked_fill(blind, 0).softmax(3).masked_fill(blind, 0).to(v.dtype);
        var mixed = torch.bmm(p.view(B * keyHeads, rows, S), v.reshape(B * keyHeads, S, dv)).view(B, H, T, dv);
        return mixed.transpose(1, 2).contiguous().transpose(1, 2).MoveToOuterDisposeScope();
    }

    // Which scores count as -inf: [T, S], or [B, 1, T, S] where segments share rows; null where none does.
    private static Tensor? HiddenKeys(Tensor q, long keys, AttentionOptions options)
    {
        var device = q.device;
        Tensor? hidden = null;
        if (options.Causal || options.Window > 0)
        {
            var key = torch.arange(keys, ScalarType.Int64, device).unsqueeze(0);
            var place = torch.arange(q.size(2), ScalarType.Int64, device).add(options.Offset).unsqueeze(1);
            if (options.Causal)
                hidden = key.gt(place);
            if (options.Window > 0)
                hidden = hidden is null ? key.le(place - options.Window) : hidden.logical_or(key.le(place - options.Window));
        }
        if (options.Segments.Length == 0)
            return hidden;
        var of = new long[q.size(0) * q.size(2)];
        Array.Fill(of, -1);
        for (var i = 0; i < options.Segments.Length; i += 2)
            Array.Fill(of, i, (int)options.Segments[i], (int)(options.Segments[i + 1] - options.Segments[i]));
        var ids = torch.tensor(of, [q.size(0), 1, q.size(2)]).to(device);
        var across = ids.unsqueeze(3).ne(ids.unsqueeze(2)).logical_or(ids.lt(0).unsqueeze(3));
        return hidden is null ? across : across.logical_or(hidden);
    }
}
