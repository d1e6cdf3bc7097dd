using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>One decoder block: attention and feed-forward, each added to the residual stream, with norms before them,
/// after them, or both.</summary>
public sealed class DecoderBlock : Layer
{
    // Wrapped projections of more rows are better off among operations that all threads share.
    private const long MostWrappedRows = 16;

    private readonly Norm? _beforeAttention;
    private readonly Attention _attention;
    private readonly Norm? _afterAttention;
    private readonly Norm? _beforeFeedForward;
    private readonly FeedForward _feedForward;
    private readonly Norm? _afterFeedForward;
    private readonly ProjectionSlot[] _slots;
    private readonly DecoderConfig _config;
    private readonly int _layer;
    private readonly bool _hasKernel;
    private DecoderWeights? _plain;

    /// <summary>Takes the block's tensors from a source of weights.</summary>
    public DecoderBlock(DecoderConfig config, WeightSource weights, string path, int layer)
        : base(path)
    {
        (_config, _layer, _hasKernel) = (config, layer, config.IsPlainAt(layer));
        var names = config.Names;
        _beforeAttention = Take(names.Norms.BeforeAttention);
        _attention = RegisterModule(
            names.Attention.Block, new Attention(config, weights, $"{path}.{names.Attention.Block}", layer));
        _afterAttention = Take(names.Norms.AfterAttention);
        _beforeFeedForward = Take(names.Norms.BeforeFeedForward);
        _feedForward = RegisterModule(
            names.FeedForward.Block.Length == 0 ? "feed_forward" : names.FeedForward.Block,
            FeedForward.Of(config, weights, DecoderNames.Join(path, names.FeedForward.Block), layer));
        _afterFeedForward = Take(names.Norms.AfterFeedForward);
        _slots = [.. _attention.Slots, .. _feedForward.Slots];

        Norm? Take(string? name) => name is null ? null : RegisterModule(
            name, new Norm(weights, $"{path}.{name}", config.Norm, config.NormEpsilon, config.HiddenSize));
    }

    /// <summary>The projections, in module order.</summary>
    public IEnumerable<ProjectionSlot> Slots => _slots;

    /// <summary>Runs the block without a graph and in place, where there is a kernel for it, and nothing wraps its
    /// projections or there are few rows, as in decoding.</summary>
    /// <remarks>Shapes: hidden [B, T, D], which becomes the block's output.</remarks>
    /// <returns>False where there is not; then nothing was done, and <see cref="Forward"/> is to be called.</returns>
    public bool RunInPlace(Tensor hidden, SequenceContext context, ForwardPass pass, WorkMemory memory)
    {
        var isPlain = Array.TrueForAll(_slots, slot => slot.IsPlain);
        if (!_hasKernel || !(isPlain || RunsWrapped(hidden)))
            return false;
        var weights = _plain ??= Weights();
        var borders = context.Segments is { } segments ? segments.Borders : default;
        long[] added = [
            hidden.size(0), weights.Key.Weight.size(0) / weights.HeadSize, hidden.size(1), weights.HeadSize];
        return Fused.decoder_block_(
            hidden, weights, context.Cosines, context.Sines, context.Mask, pass.Cache?.Rooms(_layer, added, hidden),
            borders, memory, isPlain ? null : Wrapped(pass));
    }

    private bool RunsWrapped(Tensor hidden) =>
        hidden.size(0) * hidden.size(1) <= MostWrappedRows && !_attention.EmitsMap
        && Array.TrueForAll(_slots, slot => slot.Projection.IsRowwise);

    private Func<Tensor, Tensor>?[] Wrapped(ForwardPass pass) => Array.ConvertAll(
        _slots, slot => slot.IsPlain ? null : (Func<Tensor, Tensor>)(x => slot.Forward(x, pass)));

    private DecoderWeights Weights()
    {
        var plain = _slots.Select(slot => new PlainLinear(slot.Base.Weight, slot.Base.Bias)).ToArray();
        var (norms, settings) = (_attention.HeadNorms, _attention.Settings);
        return new(
            _beforeAttention!.Weight, plain[0], plain[1], plain[2], plain[3], norms.Query?.Weight, norms.Key?.Weight,
            _beforeFeedForward!.Weight, plain[4], plain[5], plain[6], _config.NormEpsilon, settings.HeadSize,
            settings.Scale, settings.Window);
    }

    /// <summary>Runs the block.</summary>
    /// <remarks>Shapes: hidden [B, T, D] → [B, T, D].</remarks>
    public Tensor Forward(Tensor hidden, SequenceContext context, ForwardPass pass)
    {
        (var normal, hidden) = Beside(_beforeAttention, hidden);
        var mixed = _attention.Forward(normal, context, pass);
        if (_config.IsParallel)
        {
            var own = _beforeFeedForward is null ? normal : _beforeFeedForward.Forward(hidden);
            return Scaled(Normal(_afterAttention, mixed)).add_(hidden).add_(Scaled(_feedForward.Forward(own, pass)));
        }

        (normal, var attended) = Beside(_beforeFeedForward, Added(hidden, mixed, _afterAttention));
        return Added(attended, _feedForward.Forward(normal, pass), _afterFeedForward);
    }

    // In place: no one keeps what a branch gives, and a tensor fewer comes and goes between those that are kept.
    private Tensor Added(Tensor stream, Tensor branch, Norm? after) => _config.NormalizesSums
        ? Normal(after, Scaled(branch).add_(stream))
        : Scaled(Normal(after, branch)).add_(stream);

    private static Tensor Normal(Norm? norm, Tensor x) => norm is null ? x : norm.Forward(x);

    // What a branch takes, and the stream that it is added to.
    private static (Tensor Normal, Tensor Stream) Beside(Norm? norm, Tensor x) =>
        norm?.Beside(x) ?? (x, x);

    private Tensor Scaled(Tensor branch) =>
        _config.ResidualMultiplier == 1 ? branch : branch * _config.ResidualMultiplier;
}
