using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>How a feed-forward of experts is built.</summary>
/// <param name="Count">Experts of a layer.</param>
/// <param name="Chosen">Experts that each token goes to.</param>
/// <param name="IntermediateSize">Width inside each.</param>
/// <param name="Renormalizes">Whether the weights of the chosen are divided by their sum.</param>
/// <param name="Layers">Which layers have experts; the others are dense.</param>
/// <param name="Names">Names inside an expert.</param>
public sealed record BaseExperts(
    int Count, int Chosen, int IntermediateSize, bool Renormalizes, IReadOnlyList<bool> Layers, FeedForwardNames Names)
{
    /// <summary>Width inside the expert that every token goes to, behind a gate of its own; null: there is
    /// none.</summary>
    public int? SharedIntermediateSize { get; init; }

    /// <summary>Factor of the reference's loss for balance; null: it computes none.</summary>
    public double? BalanceLossFactor { get; init; }
}

/// <summary>A feed-forward of experts: each token goes through the few that its router finds likeliest, and their sum
/// is
/// weighted by its probabilities.</summary>
/// <remarks>
/// Source: Fedus et al. 2021, arXiv:2101.03961, section 2.1; Jiang et al. 2024, arXiv:2401.04088 (Mixtral). Gradient:
/// passes through the weights; the choice is constant, and an expert without tokens has none.
/// </remarks>
public sealed class ExpertFeedForward : FeedForward
{
    private readonly BaseExperts _options;
    private readonly ProjectionSlot _gate;
    private readonly DenseFeedForward[] _experts;
    private readonly DenseFeedForward? _shared;
    private readonly ProjectionSlot? _sharedGate;

    /// <summary>Takes the router and every expert from a source of weights.</summary>
    public ExpertFeedForward(DecoderConfig config, BaseExperts options, WeightSource weights, string path)
        : base(path)
    {
        _options = options;
        var width = config.HiddenSize;
        _gate = Slot(config, weights, path, "gate", width, options.Count, hasBias: false);
        var group = RegisterModule("experts", new ModuleGroup($"{path}.experts"));
        _experts = [.. Enumerable.Range(0, options.Count).Select(expert => group.Add($"{expert}", new DenseFeedForward(
            config, options.Names, options.IntermediateSize, weights, $"{path}.experts.{expert}", isExpert: true)))];
        if (options.SharedIntermediateSize is not { } inner)
            return;
        _shared = RegisterModule(
            "shared_expert", new DenseFeedForward(config, options.Names, inner, weights, $"{path}.shared_expert"));
        _sharedGate = Slot(config, weights, path, "shared_expert_gate", width, 1, hasBias: false);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<ProjectionSlot> Slots =>
        [_gate, .. _experts.SelectMany(expert => expert.Slots), .. _shared?.Slots ?? [],
            .. _sharedGate is null ? [] : new[] { _sharedGate }];

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x, ForwardPass pass)
    {
        var tokens = x.reshape(-1, x.shape[^1]); // [N, D]
        var logits = _gate.Forward(x, pass).reshape(-1, _options.Count); // [N, E]
        var wide = logits.dtype == ScalarType.Float64 ? logits.dtype : ScalarType.Float32;
        var (weights, chosen) = torch.nn.functional.softmax(logits.to(wide), -1).topk(_options.Chosen, -1);
        if (_options.Renormalizes)
            weights = weights / weights.sum(-1, keepdim: true);
        if (_options.BalanceLossFactor is not null && pass.IsTraining)
            pass.Emit(new ExpertChoice(logits, chosen));
        var mixed = Mixed(tokens, weights.to(x.dtype), chosen, x.shape[1], pass).reshape(x.shape);
        return _shared is null ? mixed
            : mixed + (_sharedGate!.Forward(x, pass).sigmoid() * _shared.Forward(x, pass));
    }

    // Each expert sees its own tokens alone, so that the cost goes with the number chosen.
    private Tensor Mixed(Tensor tokens, Tensor weights, Tensor chosen, long length, ForwardPass pass)
    {
        var places = new List<long>[_options.Count];
        var choice = chosen.Values<long>(); // [N K]
        for (var i = 0; i < choice.Length; i++)
            (places[choice[i]] ??= []).Add(i);
        var flat = weights.reshape(-1); // [N K]
        var (rows, outputs) = (new List<Tensor>(), new List<Tensor>());
        var seed = pass.DrawSeed();
        for (var expert = 0; expert < places.Length; expert++)
        {
            if (places[expert] is not { } own)
                continue;
            var place = torch.tensor(own.ToArray(), [own.Count], device: tokens.device);
            var row = torch.tensor([.. own.Select(at => at / _options.Chosen)], [own.Count], device: tokens.device);
            var input = tokens.index_select(0, row).unsqueeze(0); // [1, n, D]
            using var random = pass.Stream(seed, expert);
            var output = _experts[expert].Forward(input, pass.ForTokens(row, length, random)).squeeze(0);
            rows.Add(row);
            outputs.Add(output * flat.index_select(0, place).unsqueeze(-1));
        }

        return torch.zeros_like(tokens).index_add(0, torch.cat(rows), torch.cat(outputs), 1);
    }
}

/// <summary>What the router of a feed-forward of experts said of each token, for the loss that balances them.</summary>
/// <param name="Logits">[N, E].</param>
/// <param name="Chosen">[N, K] int64.</param>
public sealed record ExpertChoice(Tensor Logits, Tensor Chosen) : IPassRecord
{
    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => [Logits, Chosen];

    /// <summary>How unevenly tokens go to the experts, over all layers together; the number chosen where
    /// evenly.</summary>
    /// <remarks>
    /// Source: Fedus et al. 2021, arXiv:2101.03961, eq. 4 to 6, as transformers' <c>load_balancing_loss_func</c>: for
    /// each choice of a token the share of tokens by expert, times the mean probability, times E. Gradient: through the
    /// probabilities.
    /// </remarks>
    /// <param name="choices">Of each layer.</param>
    /// <param name="mask">[B, T] bool, true = real token; null: all are.</param>
    /// <param name="part">Which part of the batch they are; null: all of it.</param>
    public static Tensor BalanceLoss(IReadOnlyList<ExpertChoice> choices, Tensor? mask, BatchShare? part = null)
    {
        var logits = torch.cat([.. choices.Select(choice => choice.Logits.to(ScalarType.Float32))]); // [L N, E]
        var probabilities = torch.nn.functional.softmax(logits, -1);
        var chosen = torch.cat([.. choices.Select(choice => choice.Chosen)]); // [L N, K]
        var experts = logits.shape[1];
        var weights = mask is null ? torch.ones([logits.shape[0], 1], device: logits.device)
            : mask.to(ScalarType.Float32).reshape(-1, 1).repeat(choices.Count, 1); // [L N, 1]
        var all = OfAll(weights.sum());
        var share = torch.nn.functional.one_hot(chosen, experts).to(ScalarType.Float32).sum(1L); // [L N, E]
        return (OfAll((share * weights).sum(0L)) / all * (OfAll((probabilities * weights).sum(0L)) / all)).sum()
            * experts;

        Tensor OfAll(Tensor sum) => part?.Sum(sum) ?? sum;
    }
}
