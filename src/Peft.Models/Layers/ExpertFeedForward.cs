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
            config, options.Names, options.IntermediateSize, weights, $"{path}.experts.{expert}")))];
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
        var choice = chosen.to(torch.CPU).contiguous().data<long>().ToArray(); // [N K]
        for (var i = 0; i < choice.Length; i++)
            (places[choice[i]] ??= []).Add(i);
        var flat = weights.reshape(-1); // [N K]
        var (rows, outputs) = (new List<Tensor>(), new List<Tensor>());
        for (var expert = 0; expert < places.Length; expert++)
        {
            if (places[expert] is not { } own)
                continue;
            var place = torch.tensor(own.ToArray(), [own.Count], device: tokens.device);
            var row = torch.tensor([.. own.Select(at => at / _options.Chosen)], [own.Count], device: tokens.device);
            var input = tokens.index_select(0, row).unsqueeze(0); // [1, n, D]
            var output = _experts[expert].Forward(input, pass.ForTokens(row, length)).squeeze(0);
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
}
