using Peft.Formats;
using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>A decoder: token ids in, logits out. Frozen as it comes; what is trained wraps its projections.</summary>
public abstract class CausalLanguageModel : Layer
{
    private readonly WeightSource _weights;

    /// <summary>Makes a model; the derived constructor takes its tensors from the same source.</summary>
    protected CausalLanguageModel(ModelConfig config, WeightSource weights)
        : base(config.ModelType)
    {
        Config = config;
        _weights = weights;
    }

    /// <summary>What config.json says.</summary>
    public ModelConfig Config { get; }

    /// <summary>Type of the base weights and of the residual stream.</summary>
    public ScalarType Dtype => _weights.Dtype;

    /// <summary>Where the base weights lie.</summary>
    public Device Device => _weights.Device;

    /// <summary>Every projection that can be wrapped, in module order, the head last. Wrapped ones appear as their
    /// wrappers.</summary>
    public IReadOnlyList<Projection> Projections => [.. Slots.Select(slot => slot.Projection)];

    /// <summary>The output head as a projection; <c>all-linear</c> leaves it out.</summary>
    public Projection HeadProjection => HeadSlot.Projection;

    /// <summary>True while nothing wraps the head, so that a loss may use <see cref="HeadWeight"/> directly, with the
    /// config's scale and soft cap.</summary>
    public bool HasPlainHead => HeadSlot.IsPlain && HeadSlot.Base.Bias is null;

    /// <summary>Weight of the output head; the embedding table when tied.</summary>
    /// <remarks>Shapes: [V, D].</remarks>
    public Parameter HeadWeight => HeadSlot.Base.Weight;

    /// <summary>Whether files hold a projection's weight as [inputs, outputs] (GPT-2's Conv1D).</summary>
    public bool HasMatricesInputsFirst => Slots.Any(slot => slot.Base.IsStoredInputsFirst);

    /// <summary>What runs before each pass, for routers on its projections that go by the result.</summary>
    /// <value>Default none.</value>
    public PreliminaryPass Preliminary { get; set; }

    /// <summary>The table of token vectors.</summary>
    public abstract TokenEmbedding Embedding { get; }

    /// <summary>The slot of the output head.</summary>
    protected abstract ProjectionSlot HeadSlot { get; }

    /// <summary>The slots inside the blocks, in module order.</summary>
    protected abstract IEnumerable<ProjectionSlot> BlockSlots { get; }

    private IEnumerable<ProjectionSlot> Slots => BlockSlots.Append(HeadSlot);

    /// <summary>Final normalised activations.</summary>
    /// <remarks>
    /// Shapes: ids [B, T] int64 → [B, T, D].
    /// Gradient: to whatever wraps the projections; a pass for inference builds no graph.
    /// Errors: ArgumentException when ids is not [B, T] or of another shape than the segments, or when a pass that
    /// trains or is packed carries a cache.
    /// </remarks>
    public Tensor Hidden(Tensor ids, ForwardPass pass)
    {
        if (ids.ndim != 2)
            throw new ArgumentException($"ids have {ids.ndim} dimensions; [B, T] is expected", nameof(ids));
        if (pass.IsTraining && pass.Cache is not null)
            throw new ArgumentException(
                "a training pass carries a key-value cache; caches hold no graph", nameof(pass));
        if (pass.Segments is not null && pass.Cache is not null)
            throw new ArgumentException(
                "a packed pass carries a key-value cache; a cache holds one sequence a row", nameof(pass));
        pass.Segments?.Check(ids);
        using var noGrad = pass.IsInference ? torch.no_grad() : null;
        using var scope = torch.NewDisposeScope();
        var (all, whole) = pass.Cache is { } cache && DependsOnLength ? WithEarlier(ids, pass, cache) : (ids, pass);
        if (RunsTwice(pass))
            whole.Emit(new PreliminaryHidden(
                Hidden(all, whole.Before(keeps: Preliminary == PreliminaryPass.Tokens))));
        var hidden = RunBlocks(all, whole);
        pass.Cache?.Advance(all.shape[1]);
        var (T, S) = (ids.shape[1], all.shape[1]);
        return (S == T ? hidden : hidden.narrow(1, S - T, T).contiguous()).MoveToOuterDisposeScope();
    }

    private bool RunsTwice(ForwardPass pass) => !pass.IsPreliminary && Preliminary switch
    {
        PreliminaryPass.Tokens => true,
        PreliminaryPass.Prompt => pass.Cache is not { Length: > 0 },
        _ => false,
    };

    // Where the length that has been reached changes what earlier tokens are, they are run again: the reference without
    // a cache.
    private (Tensor Ids, ForwardPass Pass) WithEarlier(Tensor ids, ForwardPass pass, KeyValueCache cache)
    {
        var positions = SequenceContext.PositionsOf(ids, pass).expand(ids.shape[0], ids.shape[1]);
        var (earlier, places) = cache.Remember(ids, positions);
        var before = cache.Length == 0 ? 0 : places.narrow(1, 0, cache.Length).max().ToInt64() + 1;
        if (cache.Length == 0 || KeepsKeys(before, positions.max().ToInt64() + 1))
            return (ids, pass);
        cache.Restart();
        return (earlier, pass.Again(places));
    }

    /// <summary>Logits of activations.</summary>
    /// <remarks>
    /// Shapes: hidden [..., D] → [..., V].
    /// Errors: InvalidOperationException when the head is wrapped and no pass is given.
    /// </remarks>
    public Tensor Head(Tensor hidden, ForwardPass? pass = null)
    {
        if (pass is null && !HeadSlot.IsPlain)
            throw new InvalidOperationException($"{HeadSlot.Base.Path} is wrapped; its forward needs the pass");
        using var noGrad = pass is { IsInference: true } ? torch.no_grad() : null;
        var logits = HeadSlot.Forward(hidden, pass ?? ForwardPass.ForInference());
        return Config.ScalesLogits ? Scaled(logits) : logits;
    }

    private Tensor Scaled(Tensor logits)
    {
        using var scope = torch.NewDisposeScope();
        var scaled = Config.LogitScale == 1 ? logits : logits * Config.LogitScale;
        var capped = Config.LogitSoftCap is { } cap ? (scaled / cap).tanh() * cap : scaled;
        logits.Dispose();
        return capped.MoveToOuterDisposeScope();
    }

    /// <summary>Cross-entropy of one token at each of some positions.</summary>
    /// <remarks>
    /// Shapes: rows [M, D] (after the final norm), targets [M] int64 to [M] float32. Units: nats.
    /// Gradient: reaches rows, and the head's weight when it is trained. The table [M, V] of logits never exists whole.
    /// </remarks>
    public Tensor TokenLosses(Tensor rows, Tensor targets, ForwardPass pass)
    {
        if (HasPlainHead)
            return Fused.linear_cross_entropy(
                Config.LogitScale == 1 ? rows : rows * Config.LogitScale, HeadWeight, targets,
                softcap: Config.LogitSoftCap ?? 0);
        // A head that an adapter wraps is more than one matrix.
        var logits = Head(rows, pass).to(ScalarType.Float32);                               // [M, V]
        return torch.nn.functional.cross_entropy(logits, targets, reduction: torch.nn.Reduction.None);
    }

    /// <summary>Logits of every position.</summary>
    /// <remarks>Shapes: ids [B, T] int64 → [B, T, V].</remarks>
    public Tensor Forward(Tensor ids, ForwardPass pass)
    {
        using var scope = torch.NewDisposeScope();
        return Head(Hidden(ids, pass), pass).MoveToOuterDisposeScope();
    }

    /// <summary>The loss that balances the experts of the base itself, where its config asks for one
    /// (<c>output_router_logits</c>) and it has experts; null: none.</summary>
    /// <remarks>Shapes: mask [B, T] bool, true = real token, or null; scalar float32, its coefficient included.
    /// Gradient:
    /// to whatever the routers of the base depend on.</remarks>
    public virtual Tensor? BalanceLoss(ForwardPass pass, Tensor? mask) => null;

    /// <summary>Replaces a projection in place, so that every later forward runs what <paramref name="wrap"/>
    /// returns.</summary>
    /// <param name="path">Hugging Face module path.</param>
    /// <param name="wrap">Gets what stands there now; returns what shall stand there.</param>
    /// <exception cref="UserException">No projection has this path.</exception>
    public void Wrap(string path, Func<Projection, Projection> wrap)
    {
        var slots = Slots.ToList();
        var slot = slots.Find(candidate => candidate.Base.Path == path);
        if (slot is null)
        {
            var near = NearestName.Of(path, slots.Select(candidate => candidate.Base.Path));
            throw UserException.At(
                $"target '{path}'", $"no such projection in this {Config.ModelType} model",
                $"one of its {slots.Count}, from {slots[0].Base.Path} to {slots[^1].Base.Path}",
                near is null ? null : $"did you mean '{near}'?");
        }

        slot.Wrap(wrap);
    }

    /// <summary>The base weights under their Hugging Face names, in building order, whatever wraps them; a tied head is
    /// left out.</summary>
    /// <remarks>Shapes: as in the checkpoint.</remarks>
    public IEnumerable<(string Name, Tensor Tensor)> StateDict() =>
        _weights.Taken.Select(taken => (taken.Name, _weights.AsStored(taken.Name, taken.Parameter)));

    /// <summary>The base weights as parameters, under their Hugging Face names; what <c>method: full</c>
    /// trains.</summary>
    public IReadOnlyList<(string Name, Parameter Parameter)> BaseParameters => _weights.Taken;

    /// <summary>Frees (true) or freezes (false) every base weight.</summary>
    public void RequireGrad(bool required)
    {
        foreach (var (_, parameter) in _weights.Taken)
            parameter.requires_grad = required;
    }

    /// <summary>Whether positions mean something else in a longer sequence.</summary>
    protected virtual bool DependsOnLength => false;

    /// <summary>Whether keys of a sequence with one length serve it at another.</summary>
    protected virtual bool KeepsKeys(long before, long now) => true;

    /// <summary>Embeds the tokens, runs every block through <see cref="RunBlock"/>, and normalises.</summary>
    /// <remarks>Shapes: ids [B, T] int64 → [B, T, D].</remarks>
    protected abstract Tensor RunBlocks(Tensor ids, ForwardPass pass);

    /// <summary>Runs one block in a dispose scope of its own and hands only its output outward; its input is
    /// freed.</summary>
    /// <remarks>
    /// Shapes: hidden [B, T, D] → [B, T, D].
    /// Gradient: the graph keeps what backward needs; freed handles do not matter to it. With gradient checkpointing a
    /// block with anything to learn in it or below it keeps its input alone, and <see cref="ForwardPass.Backward"/>
    /// runs it again.
    /// </remarks>
    /// <param name="hidden">Its input.</param>
    /// <param name="pass">The forward that runs.</param>
    /// <param name="block">The block.</param>
    /// <param name="run">Runs it in this pass, or in the one that <see cref="ForwardPass.Backward"/> makes: nothing
    /// else of a pass may be used.</param>
    protected static Tensor RunBlock(
        Tensor hidden, ForwardPass pass, torch.nn.Module block, Func<Tensor, ForwardPass, Tensor> run)
    {
        if (pass.GradientCheckpointing
            && (hidden.requires_grad || block.parameters().Any(parameter => parameter.requires_grad)))
            return pass.Checkpoint(hidden, run);
        using var scope = torch.NewDisposeScope();
        var output = run(hidden, pass).MoveToOuterDisposeScope();
        hidden.Dispose();
        return output;
    }
}
