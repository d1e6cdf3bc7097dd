using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Bundles;

/// <summary>Runs an adapted model with what its projections add replaced: the reference that an export is held
/// against.</summary>
/// <remarks>Wraps the adapted projections once more, for good: the model is for probing from then on.</remarks>
public sealed class AdapterProbe
{
    private readonly AdaptedModel _adapted;
    private Func<Call, Tensor>? _replacement;

    /// <summary>Wraps the projections of an adapted model.</summary>
    public AdapterProbe(AdaptedModel adapted)
    {
        _adapted = adapted;
        foreach (var module in adapted.Modules)
            adapted.Model.Wrap(module.Path, _ => new Place(module, this));
    }

    /// <summary>One run of one projection.</summary>
    /// <param name="Module">The projection.</param>
    /// <param name="Input">Its input [.., D].</param>
    /// <param name="Pass">The forward that runs.</param>
    public sealed record Call(MixtureProjection Module, Tensor Input, ForwardPass Pass)
    {
        /// <summary>What the adapter gives, router and all.</summary>
        public Tensor Adapted() => Module.Forward(Input, Pass);

        /// <summary>The frozen layer's output.</summary>
        public Tensor Base() => Module.Wrapped.Forward(Input, Pass);

        /// <summary>What the adapter adds with some gates; what it took out of the frozen layer goes off.</summary>
        /// <remarks>Shapes: gates [E], [C] or [N, E], [N, C] → [N, O].</remarks>
        public Tensor Added(Tensor gates)
        {
            var hidden = Rows.mm(Module.AllDown().t());
            return WithoutTaken((hidden * Module.Columns(gates)).mm(Module.AllUp().t()) * Module.Shape.Scale);
        }

        /// <summary>The frozen layer's output with one of the projection's own experts, with weight 1.</summary>
        public Tensor WithOnly(int expert) => With(this, WithoutTaken(
            Rows.mm(Module.DownOf(expert).t()).mm(Module.UpOf(expert).t()) * Module.Shape.Scale));

        /// <summary>The frozen layer's output with what the adapter adds with some gates.</summary>
        /// <remarks>Shapes: gates [E] or [C] → [.., O].</remarks>
        public Tensor WithAdded(Tensor gates) => With(this, Added(gates));

        private Tensor Rows => Input.reshape(-1, Module.InFeatures).to(torch.float32);

        private Tensor WithoutTaken(Tensor added) => Module.TakenOut is not { } first ? added
            : added - (Rows.mm(first.Down.t()).mm(first.Up.t()) * Module.Shape.Scale);

        /// <summary>The gates of every token; to be asked after <see cref="Adapted"/>.</summary>
        /// <remarks>Shapes: [N, E], or [N, R] where ranks are routed; null without a router.</remarks>
        public Tensor? Gates() => Module.Router switch
        {
            null => null,
            SharedRouter shared => shared.Route(Input, Pass).Gates,
            _ => Pass.Records<RoutingRecord>().Last(record => record.Module == Module.Path).Decision.Gates,
        };
    }

    /// <summary>Logits of the model with its projections computed by a function; as they are where none is
    /// given.</summary>
    /// <remarks>Shapes: ids [1, T] int64 → [1, T, V] float32.</remarks>
    public Tensor Logits(Tensor ids, Func<Call, Tensor>? replacement = null)
    {
        _replacement = replacement;
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        return _adapted.Model.Forward(ids, ForwardPass.ForInference()).to(torch.float32).MoveToOuterDisposeScope();
    }

    /// <summary>Logits with one expert for every token; where there is no router, the adapter itself.</summary>
    /// <param name="ids">[1, T] int64.</param>
    /// <param name="expert">The expert, with weight 1; null for none.</param>
    public Tensor LogitsOf(Tensor ids, int? expert) =>
        LogitsOf(ids, expert is null, module => expert < module.Shape.Experts ? expert : null);

    /// <summary>Logits with one part of an exported mixture for every token.</summary>
    public Tensor LogitsOf(Tensor ids, MixturePart part) => LogitsOf(
        ids, part.IsUnrouted, module => part.Modules.Contains(module) ? part.IndexIn(module) : null);

    private Tensor LogitsOf(Tensor ids, bool isUnrouted, Func<MixtureProjection, int?> expertIn) => Logits(ids, call =>
    {
        if (call.Module.Router is null)
            return isUnrouted ? call.Adapted() : call.Base();
        return isUnrouted || expertIn(call.Module) is not { } chosen ? call.Base() : call.WithOnly(chosen);
    });

    /// <summary>Logits of the base with a plain LoRA that was read from files, by PEFT's formula.</summary>
    /// <remarks>Source: LoRA, arXiv:2106.09685, eq. 3: <c>W x + scale · B (A x)</c>.</remarks>
    public Tensor LogitsOf(Tensor ids, PeftAdapter adapter)
    {
        var modules = adapter.Modules.ToDictionary(module => module.Path, StringComparer.Ordinal);
        return Logits(ids, call =>
        {
            if (!modules.TryGetValue(call.Module.Path, out var module))
                return call.Base();
            var scale = adapter.Config.ScalingOf(module.Path);
            var (down, up) = (module.Down.to(torch.float32), module.Up.to(torch.float32));
            return module.Magnitude is { } magnitude
                ? Directed(call, (up.mm(down) * scale) + call.Module.Wrapped.Weight.to(torch.float32), magnitude)
                : With(call, call.Input.reshape(-1, call.Module.InFeatures).to(torch.float32).mm(down.t())
                    .mm(up.t()) * scale);
        });
    }

    // Source: DoRA, arXiv:2402.09353, eq. 5.
    private static Tensor Directed(Call call, Tensor direction, Tensor magnitude)
    {
        var weight = direction * (magnitude.to(torch.float32) / direction.norm(1)).nan_to_num(1, 1, 1).unsqueeze(1);
        return Fused.linear(call.Input, weight.to(call.Input.dtype), call.Module.Wrapped.Bias);
    }

    /// <summary>The frozen layer's output with something added.</summary>
    /// <remarks>Shapes: added [N, O] → [.., O].</remarks>
    private static Tensor With(Call call, Tensor added)
    {
        var output = call.Base();
        return output + added.reshape(output.shape).to(output.dtype);
    }

    private sealed class Place : Projection
    {
        private readonly MixtureProjection _inner;
        private readonly AdapterProbe _probe;

        public Place(MixtureProjection inner, AdapterProbe probe)
            : base(inner.Path, inner.InFeatures, inner.OutFeatures)
        {
            (_inner, _probe) = (RegisterModule("inner", inner), probe);
        }

        // What comes before is what the routers go by.
        public override Tensor Forward(Tensor x, ForwardPass pass) =>
            _probe._replacement is { } replacement && !pass.IsPreliminary
                ? replacement(new Call(_inner, x, pass)) : _inner.Forward(x, pass);
    }
}
