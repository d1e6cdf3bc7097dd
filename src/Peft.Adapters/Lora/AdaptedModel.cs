using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>A frozen base model with adapters on its projections.</summary>
/// <param name="Model">The base model, whose projections are wrapped.</param>
/// <param name="Options">What was asked for.</param>
/// <param name="Modules">The wrapped projections, in the model's order.</param>
public sealed record AdaptedModel(CausalLanguageModel Model, AdapterOptions Options, IReadOnlyList<MixtureProjection> Modules)
{
    private List<(Tensor Value, Tensor First)> _anchors = [];
    private readonly AuxiliaryLoss _auxiliary = Routing.AuxiliaryLoss.From(Options.Router);

    /// <summary>What the optimizer trains: every adapter and router parameter that learns, under stable names.</summary>
    public IReadOnlyList<(string Name, Parameter Parameter)> Parameters =>
        [.. Modules.SelectMany(module => module.AdapterParameters()).Where(pair => pair.Parameter.requires_grad)];

    /// <summary>Every tensor that a bundle holds: parameters, trained or not, then the routers' saved buffers.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> State =>
        [.. Modules.SelectMany(module => module.AdapterParameters().Select(pair => (pair.Name, (Tensor)pair.Parameter))
            .Concat(module.AdapterBuffers()))];

    /// <summary>The number of trained values.</summary>
    public long TrainableParameterCount => Parameters.Sum(pair => pair.Parameter.numel());

    /// <summary>The number of trained values of each wrapped projection, in the model's order.</summary>
    public IReadOnlyList<(string Path, long Count)> TrainableParameterCounts =>
        [.. Modules.Select(module => (module.Path, module.AdapterParameters()
            .Where(pair => pair.Parameter.requires_grad)
            .Sum(pair => pair.Parameter.numel())))];

    /// <summary>Takes the experts' present values as those that the preservation loss holds them near; nothing where it is off.</summary>
    /// <remarks>Source: LoRA-Mixer, arXiv:2507.00029, eq. 11. To be called once, with the experts as they were imported.</remarks>
    public void HoldExperts()
    {
        if (Options.Router is not { PreservationCoefficient: > 0 })
            return;
        using var off = torch.no_grad();
        _anchors = [.. Modules.SelectMany(module => new[] { module.Down, module.Up })
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
        ArgumentNullException.ThrowIfNull(pass);
        var routing = _auxiliary.Of(pass.Records<RoutingRecord>(), mask, pass.TaskIds);
        if (_anchors.Count == 0)
            return routing;
        var preservation = PreservationLoss.Of(_anchors, Options.Router!.PreservationCoefficient);
        return routing is null ? preservation : routing + preservation;
    }
}
