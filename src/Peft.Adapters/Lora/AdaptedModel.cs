using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>A frozen base model with adapters on its projections.</summary>
/// <param name="Model">The base model, whose projections are wrapped.</param>
/// <param name="Options">What was asked for.</param>
/// <param name="Modules">The wrapped projections, in the model's order.</param>
public sealed record AdaptedModel(
    CausalLanguageModel Model, AdapterOptions Options, IReadOnlyList<MixtureProjection> Modules)
{
    /// <summary>What is trained beside the projections' adapters.</summary>
    public IReadOnlyList<TrainedPart> Parts { get; init; } = [];

    /// <summary>Whether head and embeddings, one tensor in the base, are no longer the same.</summary>
    public bool PartsHead => Model.Config.TieWordEmbeddings
        && (Modules.Any(module => module.Path == Model.HeadProjection.Path)
            || Parts.Any(part => part is EmbeddingLora)
            || Parts.OfType<SavedModule>().Any(part => part.CopiesHead));

    private List<(Tensor Value, Tensor First)> _anchors = [];
    private readonly AuxiliaryLoss _auxiliary = Routing.AuxiliaryLoss.From(Options.Router);

    /// <summary>What the optimizer trains: every adapter and router parameter that learns, under stable
    /// names.</summary>
    public IReadOnlyList<(string Name, Parameter Parameter)> Parameters =>
        [.. Modules.SelectMany(module => module.AdapterParameters()).Where(pair => pair.Parameter.requires_grad),
            .. Parts.SelectMany(part => part.Parameters)];

    /// <summary>Every tensor that a bundle holds: parameters, trained or not, then the routers' saved
    /// buffers.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> State =>
        [.. Modules.SelectMany(module => module.AdapterParameters().Select(pair => (pair.Name, (Tensor)pair.Parameter))
            .Concat(module.AdapterBuffers())), .. Parts.SelectMany(part => part.State)];

    /// <summary>The number of trainable parameters.</summary>
    public long TrainableParameterCount => Parameters.Sum(pair => pair.Parameter.numel());

    /// <summary>The number of trainable parameters of each wrapped projection, in the model's order.</summary>
    public IReadOnlyList<(string Path, long Count)> TrainableParameterCounts =>
        [.. Modules.Select(module => (module.Path, module.AdapterParameters()
            .Where(pair => pair.Parameter.requires_grad)
            .Sum(pair => pair.Parameter.numel()))),
            .. Parts.Select(part => (part.Path, part.Parameters.Sum(pair => pair.Parameter.numel())))];

    /// <summary>The A and B that a projection has of another one, named as if they were its own, and whose they
    /// are.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> SharedFactors
    {
        get
        {
            var owners = new Dictionary<Parameter, string>(ReferenceEqualityComparer.Instance);
            return
            [
                .. from module in Modules
                   from factor in new[] { (Name: "lora_A", Value: module.Down), (Name: "lora_B", Value: module.Up) }
                   where !owners.TryAdd(factor.Value, module.Path)
                   select KeyValuePair.Create($"{module.Path}.{factor.Name}", owners[factor.Value]),
            ];
        }
    }

    /// <summary>Takes the experts' present values as those that the preservation loss holds them near; nothing where it
    /// is off.</summary>
    /// <remarks>Source: LoRA-Mixer, arXiv:2507.00029, eq. 11. To be called once, with the experts as they were
    /// imported.</remarks>
    public void HoldExperts()
    {
        if (Options.Router is not { PreservationCoefficient: > 0 })
            return;
        using var off = torch.no_grad();
        _anchors = [.. Modules.SelectMany(module => module.Factors().Select(pair => pair.Parameter))
            .Where(parameter => parameter.requires_grad)
            .Select(parameter => ((Tensor)parameter, parameter.detach().clone().DetachFromDisposeScope()))];
    }

    /// <summary>The terms of the auxiliary loss, for reports.</summary>
    public IReadOnlyList<AuxiliaryTerm> AuxiliaryTerms => _auxiliary.Terms;

    /// <summary>Whether <see cref="AuxiliaryLoss"/> gives anything.</summary>
    public bool HasAuxiliaryLoss => AuxiliaryTerms.Count > 0 || _anchors.Count > 0;

    /// <summary>The weighted losses on routing of one forward, or null where there are none.</summary>
    /// <remarks>Shapes: mask [B, T] bool, true = real token; scalar. Gradient: reaches the routers.</remarks>
    public Tensor? AuxiliaryLoss(ForwardPass pass, Tensor? mask)
    {
        var routing = _auxiliary.Of(pass.Records<RoutingRecord>(), mask, pass.TaskIds, pass.Share);
        if (_anchors.Count == 0)
            return routing;
        var preservation = PreservationLoss.Of(_anchors, Options.Router!.PreservationCoefficient);
        preservation = pass.Share?.Once(preservation) ?? preservation;
        return routing is null ? preservation : routing + preservation;
    }
}

/// <summary>What routing does in a training step beside its losses: several passes over the same rows, gradients that
/// no graph gives, and biases that follow the load.</summary>
/// <remarks>Made for one run; between steps it holds nothing.</remarks>
public sealed class RoutingProcedure(AdaptedModel adapted) : IDisposable
{
    private readonly Dictionary<string, (Tensor Counts, List<Tensor> Scores)> _loads = [];
    private RlooEstimator? _estimator;

    /// <summary>Forward and backward passes over each micro-batch.</summary>
    public int Passes => adapted.Options.Router?.Passes ?? 1;

    /// <summary>Takes in a pass whose backward is done.</summary>
    /// <param name="pass">The pass.</param>
    /// <param name="mask">[B, T] bool, true = real token; null: all are.</param>
    /// <param name="exampleLosses">Makes [B], each row's part of the step's loss.</param>
    public void AfterPass(ForwardPass pass, Tensor? mask, Func<Tensor> exampleLosses)
    {
        if (Passes > 1)
            (_estimator ??= new RlooEstimator()).Add(pass, exampleLosses());
        if (adapted.Modules.Any(module => module.Router is ILoadBalanced))
            Count(pass, mask);
    }

    /// <summary>Ends a micro-batch: adds the gradients of its passes.</summary>
    public void AfterMicroBatch()
    {
        _estimator?.AddTo(adapted.Modules.Select(module => module.Router).OfType<Router>());
        _estimator?.Dispose();
        _estimator = null;
    }

    /// <summary>What is counted for the step so far, of every module that follows its load, in their order; made where
    /// nothing was counted. Where several ranks compute a step, the sums over them take its place.</summary>
    public IReadOnlyList<Tensor> StepSums =>
        [.. adapted.Modules.Where(module => module.Router is ILoadBalanced).Select(module =>
        {
            if (!_loads.TryGetValue(module.Path, out var load))
                _loads[module.Path] = load = (torch.zeros(
                    [Width(module.Router!)], torch.float32, module.Down.device).DetachFromDisposeScope(), []);
            return load.Counts;
        })];

    /// <summary>Where several ranks compute a step, puts the scores that all have counted in place of this one's. After
    /// <see cref="StepSums"/>.</summary>
    /// <param name="rowsOfAll">Shapes: [n, E] each to [N, E], in the same order on every rank.</param>
    public void Gather(Func<IReadOnlyList<Tensor>, IReadOnlyList<Tensor>> rowsOfAll)
    {
        List<MixtureProjection> modules =
            [.. adapted.Modules.Where(module => module.Router is ILoadBalanced { NeedsScores: true })];
        if (modules.Count == 0)
            return;
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var all = rowsOfAll([.. modules.Select(module => _loads[module.Path].Scores is { Count: > 0 } own
            ? torch.cat([.. own], 0)
            : torch.zeros([0, Width(module.Router!)], torch.float32, module.Down.device))]);
        foreach (var (module, scores) in modules.Zip(all))
        {
            var load = _loads[module.Path];
            foreach (var own in load.Scores)
                own.Dispose();
            load.Scores.Clear();
            load.Scores.Add(scores.DetachFromDisposeScope());
        }
    }

    /// <summary>Ends a step: moves the biases by the load of all its tokens.</summary>
    public void AfterStep()
    {
        using var scope = torch.NewDisposeScope();
        foreach (var module in adapted.Modules)
        {
            if (module.Router is ILoadBalanced balanced && _loads.TryGetValue(module.Path, out var load)
                && !IsHeld(module.Router))
                balanced.Balance(new(load.Counts, load.Scores.Count == 0 ? null : torch.cat([.. load.Scores], 0)));
            (module.Router as IStepped)?.AfterStep();
        }
        Clear();
    }

    /// <summary>Forgets a step that was not applied.</summary>
    public void Clear()
    {
        _estimator?.Dispose();
        _estimator = null;
        foreach (var tensor in _loads.Values.SelectMany(load => load.Scores.Append(load.Counts)))
            tensor.Dispose();
        _loads.Clear();
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();

    // A router whose parameters rest keeps its biases, too.
    private static bool IsHeld(Router router) =>
        router.parameters() is var own && own.Any() && own.All(parameter => !parameter.requires_grad);

    // Experts, or ranks where those are routed.
    private long Width(Router router) =>
        adapted.Options.Router!.RoutesRanks ? router.Context.Rank : router.Context.Experts;

    private void Count(ForwardPass pass, Tensor? mask)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var real = mask?.reshape(-1);                                                          // [N]
        var routers = adapted.Modules.Where(module => module.Router is ILoadBalanced)
            .ToDictionary(module => module.Path, module => (ILoadBalanced)module.Router!, StringComparer.Ordinal);
        foreach (var record in pass.Records<RoutingRecord>())
        {
            if (!routers.TryGetValue(record.Module, out var router))
                continue;
            var selected = record.Decision.Selected.to(torch.float32);                         // [N, E]
            var counts = (real is null ? selected : selected * real.unsqueeze(1)).sum(0L);     // [E]
            if (_loads.TryGetValue(record.Module, out var load))
                load.Counts.add_(counts);
            else
                _loads[record.Module] = load = (counts.DetachFromDisposeScope(), []);
            if (router.ScoresOf(record.Decision)?.detach() is { } scores)
                load.Scores.Add((real is null ? scores.clone() : scores[real]).DetachFromDisposeScope());
        }
    }
}
