using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>Grouped-query self-attention.</summary>
/// <remarks>
/// Source: Ainslie et al. 2023, arXiv:2305.13245 (grouped queries). Queries, keys and values come from three
/// projections
/// or from one; q and k are normalised and turned where the config says so.
/// </remarks>
public sealed class Attention : Layer
{
    private readonly DecoderConfig _config;
    private readonly int _layer;
    private readonly long? _window;
    private readonly int _headSize;
    private readonly double _scale;
    private readonly int? _rotary;
    private readonly ProjectionSlot[] _inputs; // q, k and v, or all of them in one
    private readonly ProjectionSlot _output;
    private readonly Norm? _queryNorm;
    private readonly Norm? _keyNorm;

    /// <summary>Takes the projections, and the norms of q and k where there are any, from a source of
    /// weights.</summary>
    public Attention(DecoderConfig config, WeightSource weights, string path, int layer)
        : base(path)
    {
        (_config, _layer, _window, _headSize) = (config, layer, config.Windows[layer], config.HeadSize);
        _scale = config.ScaleAt(layer);
        _rotary = config.RotaryAt(layer);
        long width = config.HiddenSize;
        var queryWidth = (long)config.HeadCount * config.HeadSize;
        var keyWidth = (long)config.KeyValueHeadCount * config.HeadSize;
        var names = config.Names.Attention;
        if (names.Fused is not null)
        {
            weights.Explain(
                $"{path}.{names.Fused}.weight",
                $"it holds {config.HeadCount} heads of q, {config.KeyValueHeadCount} of k and "
                + $"{config.KeyValueHeadCount} of v, each {config.HeadSize} wide");
        }

        _inputs = names.Fused is { } fused
            ? [Slot(fused, width, queryWidth + (2 * keyWidth), config.QueryKeyValueBias)]
            : [
                Slot("q_proj", width, queryWidth, config.QueryKeyValueBias),
                Slot("k_proj", width, keyWidth, config.QueryKeyValueBias),
                Slot("v_proj", width, keyWidth, config.QueryKeyValueBias),
            ];
        _output = Slot(names.Output, queryWidth, width, config.OutputBias);
        _queryNorm = NormOf(names.QueryNorm, config.HeadCount);
        _keyNorm = NormOf(names.KeyNorm, config.KeyValueHeadCount);

        ProjectionSlot Slot(string name, long inFeatures, long outFeatures, bool hasBias)
        {
            var linear = BaseLinear.From(
                weights, $"{path}.{name}", inFeatures, outFeatures, hasBias, config.StoresInputsFirst);
            RegisterModule(name, linear);
            return new ProjectionSlot(linear, wrapped => ReplaceModule(name, wrapped));
        }

        Norm? NormOf(string name, int heads)
        {
            var (own, size) = ($"{path}.{name}", (long)config.HeadSize);
            var kind = config.Norm == NormKind.Layer ? NormKind.LayerWithoutBias : config.Norm;
            var norm = config.QueryKeyNorm switch
            {
                QueryKeyNorm.PerHead => new Norm(weights, own, kind, config.NormEpsilon, size),
                QueryKeyNorm.WholeWidth => new Norm(weights, own, kind, config.NormEpsilon, heads * size),
                QueryKeyNorm.ScalePerHead => new Norm(weights, own, kind, config.NormEpsilon, heads, size),
                QueryKeyNorm.TensorPerHead => Norm.OfHeads(weights, own, kind, config.NormEpsilon, heads, size),
                _ => null,
            };
            return norm is null ? null : RegisterModule(name, norm);
        }
    }

    /// <summary>The norms of q and k, where there are any.</summary>
    internal (Norm? Query, Norm? Key) HeadNorms => (_queryNorm, _keyNorm);

    /// <summary>Width of a head, factor of the scores, and the window.</summary>
    internal (int HeadSize, double Scale, long? Window) Settings => (_headSize, _scale, _window);

    /// <summary>The projections, in module order.</summary>
    public IReadOnlyList<ProjectionSlot> Slots => [.. _inputs, _output];

    /// <summary>Paths of the projections that come before the mixing.</summary>
    public IEnumerable<string> InputPaths => _inputs.Select(slot => slot.Base.Path);

    /// <summary>Whether every forward emits its <see cref="AttentionMap"/>, for what goes by it later in the
    /// block.</summary>
    public bool EmitsMap { get; set; }

    /// <summary>Mixes each token with those before it.</summary>
    /// <remarks>Shapes: x [B, T, D] → [B, T, D].</remarks>
    public Tensor Forward(Tensor x, SequenceContext context, ForwardPass pass)
    {
        var (B, T) = (x.shape[0], x.shape[1]);
        var (query, key, value) = Heads(x, pass);
        query = Rotate(query, _queryNorm, context).transpose(1, 2); // [B, H, T, d]
        key = Rotate(key, _keyNorm, context).transpose(1, 2); // [B, Hkv, T, d]
        value = value.transpose(1, 2);
        if (pass.Cache is { } cache)
            (key, value) = cache.Append(_layer, key, value); // [B, Hkv, S, d]
        if (EmitsMap)
            pass.Emit(new AttentionMap(_layer, query, key, context.Mask, context.Segments)
            {
                Scale = _scale, Window = _window, SoftCap = _config.AttentionSoftCap,
            });
        var borders = context.Segments is { } segments ? segments.Borders : default;
        var mixed = Fused.causal_attention(
            query, key, value, context.Mask, _scale, window: _window, softcap: _config.AttentionSoftCap,
            segments: borders);
        return _output.Forward(mixed.transpose(1, 2).reshape(B, T, -1), pass);
    }

    // q [B, T, H, d], k and v [B, T, Hkv, d].
    private (Tensor Query, Tensor Key, Tensor Value) Heads(Tensor x, ForwardPass pass)
    {
        var whole = _config.QueryKeyNorm == QueryKeyNorm.WholeWidth;
        if (_inputs.Length == 1)
            return Split(_inputs[0].Forward(x, pass));
        return (
            Head(_inputs[0].Forward(x, pass), whole ? _queryNorm : null),
            Head(_inputs[1].Forward(x, pass), whole ? _keyNorm : null), Head(_inputs[2].Forward(x, pass), null));

        Tensor Head(Tensor projected, Norm? norm)
        {
            var normal = norm?.Forward(projected) ?? projected;
            var clipped = _config.ProjectionLimit is { } limit ? normal.clamp(-limit, limit) : normal;
            return clipped.reshape(x.shape[0], x.shape[1], -1, _headSize);
        }
    }

    private (Tensor Query, Tensor Key, Tensor Value) Split(Tensor all)
    {
        var (B, T) = (all.shape[0], all.shape[1]);
        long heads = _config.HeadCount, keys = _config.KeyValueHeadCount;
        if (_config.Names.Attention.Layout == FusedLayout.Blocks)
        {
            var rows = all.reshape(B, T, heads + (2 * keys), _headSize);
            return (rows.narrow(2, 0, heads), rows.narrow(2, heads, keys), rows.narrow(2, heads + keys, keys));
        }

        var share = heads / keys;
        var groups = all.reshape(B, T, keys, share + 2, _headSize);
        return (
            groups.narrow(3, 0, share).reshape(B, T, heads, _headSize), groups.select(3, share),
            groups.select(3, share + 1));
    }

    private Tensor Rotate(Tensor heads, Norm? norm, SequenceContext context)
    {
        var normal = norm is null || _config.QueryKeyNorm == QueryKeyNorm.WholeWidth ? heads : norm.Forward(heads);
        if (_rotary is not { } own)
            return normal;
        var (cosines, sines) = context.Rotary[own];
        return Fused.rotary(_config.TurnsNeighbors ? Halves(normal, cosines.shape[^1]) : normal, cosines, sines);
    }

    // Pairs of neighbours become pairs of halves. Scores do not depend on the order of a head's entries, so nothing is
    // put back.
    private static Tensor Halves(Tensor heads, long turned)
    {
        var (B, T, H, size) = (heads.shape[0], heads.shape[1], heads.shape[2], heads.shape[3]);
        var halves = heads.narrow(3, 0, turned).reshape(B, T, H, turned / 2, 2).transpose(3, 4)
            .reshape(B, T, H, turned);
        return turned == size ? halves : torch.cat([halves, heads.narrow(3, turned, size - turned)], 3);
    }
}

/// <summary>How much each token attended to those before it in one layer, held as what it is computed from.</summary>
/// <remarks>Shapes: Query [B, H, T, d], Key [B, Hkv, S, d], Mask added to [B, H, T, S] or null.</remarks>
/// <param name="Layer">The layer's number.</param>
/// <param name="Query">Queries, turned.</param>
/// <param name="Key">Keys, turned, those of the cache first.</param>
/// <param name="Mask">What hides keys; null: nothing beyond causality.</param>
/// <param name="Segments">The sequences of packed rows, or null.</param>
public sealed record AttentionMap(int Layer, Tensor Query, Tensor Key, Tensor? Mask, SequenceSegments? Segments)
    : IPassRecord
{
    /// <summary>Factor of the scores.</summary>
    public required double Scale { get; init; }

    /// <summary>Keys a query sees, counted back from itself; null: all.</summary>
    public long? Window { get; init; }

    /// <summary>Bound of the scores; null: none.</summary>
    public double? SoftCap { get; init; }

    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => [Query, Key];

    /// <summary>The mean of what is known of each key, weighted by the attention and averaged over the heads.</summary>
    /// <remarks>Shapes: values [B, S, E] float32 → [B, T, E] float32. Gradient: to values, queries and keys.</remarks>
    public Tensor Average(Tensor values)
    {
        var each = values.unsqueeze(1).expand(-1, Key.shape[1], -1, -1);                       // [B, Hkv, S, E]
        return Fused.causal_attention(
            Query.to(torch.float32), Key.to(torch.float32), each, Mask?.to(torch.float32), Scale, window: Window,
            softcap: SoftCap, segments: Segments is { } segments ? segments.Borders : default).mean([1L]);
    }
}
