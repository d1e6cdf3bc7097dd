using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Decides for every token how much of each expert it gets.</summary>
public abstract class Router : Layer
{
    /// <summary>Makes the router of one projection.</summary>
    protected Router(RouterContext context)
        : base("router")
    {
        Context = context;
    }

    /// <summary>What this router was made for.</summary>
    public RouterContext Context { get; }

    /// <summary>Decides for the tokens of one projection's input.</summary>
    /// <remarks>
    /// Shapes: x [N, D] or [B, T, D], any floating type; the decision is [N, E] with N = B·T, float32.
    /// Gradient: reaches the router and x through Gates; never through Selected.
    /// </remarks>
    public abstract RoutingDecision Route(Tensor x, ForwardPass pass);

    /// <summary>The gate of every expert in a preliminary pass (<see cref="RouterOptions.Preliminary"/>).</summary>
    public virtual double PreliminaryGate => 0;

    /// <summary>The gates where they are the same for every token of every text, as the router is; null where they
    /// are not.</summary>
    /// <remarks>Shapes: [E], [R] where ranks are routed. Gradient: none.</remarks>
    public virtual Tensor? ConstantGates() => null;

    /// <summary>Bytes that it keeps of each token for the backward pass beyond scores and gates, by which a run's
    /// memory is estimated.</summary>
    /// <param name="width">Bytes of a number of its input.</param>
    public virtual long KeptBytes(int width) => 0;

    /// <summary>What the preliminary pass made of the tokens.</summary>
    /// <remarks>Shapes: x [.., D] → [.., H], x itself where the router is made alone.</remarks>
    protected Tensor Preliminary(Tensor x, ForwardPass pass) => Context.HiddenSize == 0 ? x
        : pass.Records<PreliminaryHidden>() is [.., var made] ? made.Hidden : throw new InvalidOperationException(
            $"{Context.Path}: no pass ran before this one, by which its router goes");

    /// <summary>The error of a router that cannot write, in a pass that goes on from a cache.</summary>
    protected static UserException OnlyGivenTexts(RouterOptions options) => UserException.At(
        "adapter.router.kind", $"'{options.Kind}' cannot write a text: {options.WhyNoDecoding}",
        "measuring of given texts (peft eval with choices or perplexity, peft logits)");

    /// <summary>Makes and registers a gate matrix: no bias, float32, Kaiming uniform with a = sqrt 5.</summary>
    /// <remarks>Shapes: [E, D], or [E, inputs].</remarks>
    protected Parameter NewGate(string name = "weight", long? inputs = null)
    {
        var gate = Take(name, [Context.Experts, inputs ?? Context.Width], weight =>
            Seeded.kaiming_uniform_(
                weight, Math.Sqrt(5), Seeds.GeneratorFor(Context.Seed, $"{Context.Path}.router.{name}")));
        register_parameter(name, gate);
        return gate;
    }

    /// <summary>Makes and registers the bias beside a gate matrix as PyTorch begins it: uniform within 1 / sqrt
    /// inputs.</summary>
    /// <remarks>Shapes: [E].</remarks>
    protected Parameter NewBias(long inputs)
    {
        var bound = 1 / Math.Sqrt(inputs);
        var bias = Take("bias", [Context.Experts], values =>
            values.uniform_(-bound, bound, Seeds.GeneratorFor(Context.Seed, $"{Context.Path}.router.bias")));
        register_parameter("bias", bias);
        return bias;
    }

    /// <summary>The gate matrix from a normal distribution around 0.</summary>
    /// <remarks>Shapes: [E, D].</remarks>
    protected Parameter NewNormalGate(double std)
    {
        var gate = Take("weight", [Context.Experts, Context.Width], weight =>
        {
            using var random = Seeds.GeneratorFor(Context.Seed, $"{Context.Path}.router.weight");
            Seeded.normal_(weight, 0, std, random);
        });
        register_parameter("weight", gate);
        return gate;
    }

    /// <summary>A parameter that is not registered yet.</summary>
    /// <remarks>Shapes: as given, float32.</remarks>
    /// <param name="name">Its name in the router.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="draw">Fills zeros with its first values.</param>
    protected Parameter Take(string name, long[] shape, Action<Tensor> draw)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        return Context.Tensors.Take($"{Context.Path}.router.{name}", torch.float32, shape, () =>
        {
            var first = torch.zeros(shape, torch.float32);
            draw(first);
            return first;
        }).ToParameter();
    }

    /// <summary>Registers a buffer that bundles hold.</summary>
    /// <remarks>Shapes: as its first values.</remarks>
    protected Tensor NewBuffer(string name, Tensor first) =>
        RegisterBuffer(
            name, Context.Tensors.Take($"{Context.Path}.router.{name}", first.dtype, first.shape, () => first));

    /// <summary>The scores of every expert, in float32 whatever the model computes in.</summary>
    /// <remarks>Shapes: x [.., D], gate [E, D] → [N, E].</remarks>
    protected static Tensor Score(Tensor x, Tensor gate) => Fused.router_scores(x, gate);

    /// <summary>The same with what <see cref="IRewirable.LogitOffset"/> adds.</summary>
    /// <remarks>Shapes: x [.., D], gate [E, D], offset [E] or null → [N, E].</remarks>
    protected static Tensor Score(Tensor x, Tensor gate, Tensor? offset) =>
        offset is null ? Score(x, gate) : Score(x, gate) + offset;

    /// <summary>The same and its softmax.</summary>
    /// <remarks>Shapes: x [.., D], gate [E, D], offset [E] or null → [N, E] each.</remarks>
    protected static (Tensor Logits, Tensor Probabilities) Softmax(Tensor x, Tensor gate, Tensor? offset = null)
    {
        if (offset is null)
            return Fused.router_softmax(x, gate);
        var logits = Score(x, gate, offset);
        return (logits, logits.softmax(-1));
    }
}

/// <summary>A router whose logits can be moved by one number an expert, the same for every token.</summary>
public interface IRewirable
{
    /// <summary>What joins the logits; null: nothing.</summary>
    /// <remarks>Shapes: [E] float32. Gradient: through the gates.</remarks>
    Tensor? LogitOffset { get; set; }

    /// <summary>Why no loss tells anything of the offset, as one clause; null: it does.</summary>
    string? WhyNoGradient => null;
}

/// <summary>A router whose experts work several times for each token, each time on what they made of it
/// before.</summary>
public interface IChained
{
    /// <summary>How often they work.</summary>
    int Iterations { get; }

    /// <summary>Decides for an iteration behind the first.</summary>
    /// <remarks>Shapes: state [N, D] or [B, T, D], as the first iteration's x. Gradient: as
    /// <see cref="Router.Route"/>.</remarks>
    /// <param name="state">The tokens as the iterations before left them.</param>
    /// <param name="iteration">Which, from 1.</param>
    /// <param name="before">The decision of the iteration before; it may serve again.</param>
    RoutingDecision RouteAgain(Tensor state, int iteration, RoutingDecision before);
}

/// <summary>What a router is made for.</summary>
/// <param name="Path">Path of the wrapped projection; part of the seed's name and of messages.</param>
/// <param name="Width">Input width D.</param>
/// <param name="Experts">Number of experts E.</param>
/// <param name="Rank">Rank R of each expert.</param>
/// <param name="Seed">Seed of the run; each parameter draws from its own stream, named by its path.</param>
/// <param name="Down">The projection's stacked A, [E·R, D], for routers that choose by it; null where a router is made
/// alone.</param>
/// <param name="Shared">Parts that several routers of one model use together; null where a router is made
/// alone.</param>
public sealed record RouterContext(
    string Path, long Width, int Experts, int Rank, long Seed, Parameter? Down = null, SharedParts? Shared = null)
{
    /// <summary>Where its tensors come from.</summary>
    public TensorSource Tensors { get; init; } = TensorSource.Fresh;

    /// <summary>Output width O of the projection; 0 where a router is made alone.</summary>
    public long Outputs { get; init; }

    /// <summary>Width of what the model's blocks make of a token; 0 where a router is made alone, which then goes by
    /// its own input.</summary>
    public long HiddenSize { get; init; }

    /// <summary>The frozen feed-forward that it decides for; null where its options need none, or where a router is
    /// made alone.</summary>
    public FrozenFeedForward? FeedForward { get; init; }

    /// <summary>Where its layer stands in a pool of experts.</summary>
    public PoolPlace Pool { get; init; } = new(Experts, 0);

    /// <summary>A part that several routers have together, or this one's own where it is made alone.</summary>
    /// <param name="name">Its name among all routers of the adapter.</param>
    /// <param name="make">Makes it.</param>
    /// <param name="isOwner">Whether this router has to register it.</param>
    public T Common<T>(string name, Func<T> make, out bool isOwner)
        where T : class
    {
        isOwner = true;
        return Shared is null ? make() : Shared.Get(name, make, out isOwner);
    }
}

/// <summary>A feed-forward of the base as it came, whatever wraps its projections.</summary>
/// <param name="Inner">Makes of its input [.., D] what its last projection takes, [.., F], without a graph.</param>
/// <param name="Down">Weight of that projection, [O, F].</param>
public sealed record FrozenFeedForward(Func<Tensor, Tensor> Inner, Tensor Down);

/// <summary>The place of a layer in a pool of experts that neighbouring layers share.</summary>
/// <param name="Own">Experts of each layer.</param>
/// <param name="Place">Which of the layers it is, from 0.</param>
public sealed record PoolPlace(int Own, int Place);

/// <summary>Parts of routers that belong to several projections: the first router that asks makes and registers
/// it.</summary>
public sealed class SharedParts
{
    private readonly Dictionary<string, object> _parts = [];

    /// <summary>The part of a name; <paramref name="isOwner"/> tells the router that has to register it.</summary>
    public T Get<T>(string name, Func<T> make, out bool isOwner)
        where T : class
    {
        isOwner = !_parts.TryGetValue(name, out var part);
        if (isOwner)
            _parts[name] = part = make();
        return (T)part!;
    }
}

/// <summary>Repeats the decision that another projection of the same block made in this pass.</summary>
/// <remarks>Source: LoRA-Mixer, arXiv:2507.00029, whose text allows one router an attention block; MixLoRA,
/// arXiv:2404.15159, one a feed-forward. It owns no parameters.</remarks>
public sealed class SharedRouter : Router
{
    private readonly Router _owner;

    /// <summary>Makes the router of a later projection of the block.</summary>
    /// <param name="owner">The router of the first one; another module owns it.</param>
    /// <param name="context">What this one is made for.</param>
    public SharedRouter(Router owner, RouterContext context)
        : base(context)
    {
        _owner = owner;
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass) =>
        pass.Records<RoutingRecord>().LastOrDefault(record => record.Module == _owner.Context.Path)?.Decision
            ?? throw new InvalidOperationException(
                $"{Context.Path}: {_owner.Context.Path} decides for it, and has not run in this pass");

    /// <inheritdoc/>
    public override Tensor? ConstantGates() => _owner.ConstantGates();
}

/// <summary>Where an adapter that is put on a base takes its tensors from, by name: drawn, or read from
/// files.</summary>
/// <remarks>As the base itself is loaded: what needs a tensor names it, and there is no second list of names.</remarks>
public abstract class TensorSource
{
    /// <summary>Draws everything.</summary>
    public static TensorSource Fresh { get; } = new FreshTensors();

    /// <summary>One tensor on the CPU, in memory of its own.</summary>
    /// <remarks>Shapes: as given.</remarks>
    /// <param name="name">Module path and <c>lora_A</c>, <c>lora_B</c> or <c>router.NAME</c>.</param>
    /// <param name="dtype">Its type.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="first">Makes its first values; called only where they are needed.</param>
    public abstract Tensor Take(string name, ScalarType dtype, long[] shape, Func<Tensor> first);

    /// <summary>The same where the source has it; null where it has not.</summary>
    /// <remarks>Shapes: as given.</remarks>
    public virtual Tensor? TakeIfHeld(string name, ScalarType dtype, long[] shape) => null;

    /// <summary>Throws every fault that was met; nothing when all fits.</summary>
    public virtual void Finish()
    {
    }

    private sealed class FreshTensors : TensorSource
    {
        public override Tensor Take(string name, ScalarType dtype, long[] shape, Func<Tensor> first) => first();
    }
}
