using Peft.Formats;

namespace Peft.Models.Layers;

/// <summary>What goes down through one forward beside the activations, and the records that come back. Made for one
/// forward, then dropped.</summary>
/// <remarks>
/// Records stay valid as long as the dispose scope that was open when the pass was made; blocks close their own scopes
/// earlier.
/// </remarks>
public sealed class ForwardPass
{
    private readonly DisposeScope? _scope = Scopes.Current;
    private readonly List<object> _records = [];
    private readonly List<GradientCheckpoint> _checkpoints = [];

    private ForwardPass()
    {
    }

    private ForwardPass(ForwardPass whole) => (_scope, _records) = (whole._scope, whole._records);

    /// <summary>True when a graph is built.</summary>
    public bool IsTraining { get; private init; }

    /// <summary>True when dropout applies: in training, but not where a few numbers are fitted to a text.</summary>
    public bool Drops { get; private init; }

    /// <summary>True when no graph is built.</summary>
    public bool IsInference => !IsTraining;

    /// <summary>True in a pass that runs before another one over the same tokens, for routers that go by what it makes
    /// of them.</summary>
    public bool IsPreliminary { get; private init; }

    /// <summary>True when blocks keep their inputs alone and are run again by <see cref="Backward"/>.</summary>
    public bool GradientCheckpointing { get; private init; }

    /// <summary>Random numbers for dropout and router noise; null where none may be drawn.</summary>
    public Generator? Random { get; init; }

    /// <summary>Task of each row, or of each token where several sequences share a row; null: none.</summary>
    /// <remarks>Shapes: [B] or [B, T] int64.</remarks>
    public Tensor? TaskIds { get; init; }

    /// <summary>Which tokens are real, for whoever counts or averages over tokens; null: all of them. Attention does
    /// not read it.</summary>
    /// <remarks>Shapes: [B, T] bool, true = real token.</remarks>
    public Tensor? TokenMask { get; init; }

    /// <summary>Which tokens belong to the prompt, for what is decided once a sequence; null: all real tokens
    /// do.</summary>
    /// <remarks>Shapes: [B, T] bool, true = prompt.</remarks>
    public Tensor? PromptMask { get; init; }

    /// <summary>Which keys may be attended to; null: all. Needed for padding on the left only: causality hides padding
    /// on the right.</summary>
    /// <remarks>Shapes: [B, S] bool, true = may be seen; S = tokens in the cache before this forward + T.</remarks>
    public Tensor? KeyMask { get; init; }

    /// <summary>Keys and values of the tokens before these, or null.</summary>
    public KeyValueCache? Cache { get; init; }

    /// <summary>Position of each token; null: counted on from the cache's length, or within each of
    /// <see cref="Segments"/>.</summary>
    /// <remarks>Shapes: [B, T] or [1, T] int64.</remarks>
    public Tensor? Positions { get; init; }

    /// <summary>The sequences of packed rows; null: each row is one sequence.</summary>
    public SequenceSegments? Segments { get; init; }

    /// <summary>Which rows of a larger batch these are, where several ranks compute one; null: all.</summary>
    public BatchShare? Share { get; init; }

    /// <summary>Which of the whole batch's tokens the head sees; null: all of them, in their order.</summary>
    /// <remarks>Shapes: [M] int64.</remarks>
    public Tensor? HeadTokens { get; init; }

    // The share and the tokens of the whole batch where this pass is for some of them. [n] int64
    private BatchShare? SomeOf { get; init; }
    private Tensor? Some { get; init; }

    /// <summary>The share of the batch whose rows an input is, for what is decided over the whole batch; null where
    /// this process has all of it.</summary>
    /// <param name="input">The module's input.</param>
    /// <param name="path">The module, for messages.</param>
    /// <exception cref="UserException">The input is not the batch's rows.</exception>
    public BatchShare? ShareOf(Tensor input, string path) => input.ndim == 3 || Share is null ? Share
        : throw UserException.At(
            path, "its router decides over the whole batch, and several ranks share that",
            "projections that see the batch's rows, which the head does not",
            "leave it out of adapter.target_modules, or train in one process");

    /// <summary>Zeroes each value of a module's input with probability p and scales the others by 1 / (1 - p). Which go
    /// is by a value's token in the whole batch, whoever computes it and whatever stands beside it; without a kernel it
    /// is drawn as <see cref="Draw"/> says.</summary>
    /// <remarks>Shapes: x [B, T, D], [M, D] for the head, or [P, D] for rows of experts. Gradient: to x.</remarks>
    /// <param name="x">The input.</param>
    /// <param name="p">From 0 to 1.</param>
    /// <param name="rows">Which tokens and experts the lines of x stand for; null: they are tokens.</param>
    public Tensor Dropout(Tensor x, double p, ExpertRows? rows = null)
    {
        var random = Random ?? throw new InvalidOperationException("this pass has no random numbers");
        if (!Fused.DropsByPlace(x))
            return Fused.dropout(x, p, shape => Draw(x, shape, (whole, generator) =>
                torch.empty(whole, x.dtype, x.device).bernoulli_(1 - p, generator)));
        using var scope = torch.NewDisposeScope();
        var tokens = Some ?? (rows is null && x.ndim == 2 ? HeadTokens
            : Share?.Tokens(rows is null ? x.shape[1] : rows.Leading[^1], x.device));
        return Fused.dropout(x, p, random, rows is null ? tokens : rows.Places(tokens)).MoveToOuterDisposeScope();
    }

    /// <summary>Draws numbers for what a module makes of its input. Of a batch that several ranks compute they are
    /// drawn for the whole, so that each row gets those that it gets in one process. Where the input is not the batch's
    /// rows (learned positions, the tokens of an expert of the base) there is no whole to draw for: then each rank
    /// draws its own, and the ranks' streams stay together.</summary>
    /// <param name="input">The module's input.</param>
    /// <param name="shape">What is wanted; the first dimension belongs to the rows.</param>
    /// <param name="draw">Draws a shape.</param>
    public Tensor Draw(Tensor input, long[] shape, Func<long[], Generator, Tensor> draw)
    {
        var random = Random ?? throw new InvalidOperationException("this pass has no random numbers");
        if ((Share ?? SomeOf) is not { } share)
            return draw(shape, random);
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        if (Share is not null && input.ndim == 3)
            return share.OwnOf(draw(share.WholeShape(shape), random)).MoveToOuterDisposeScope();
        using var own = Seeds.GeneratorFor(DrawSeed(), $"share.{share.Own}", random.device);
        return draw(shape, own).MoveToOuterDisposeScope();
    }

    /// <summary>Draws a seed for streams of parts of a module, of which not all ranks run the same; 0 where nothing may
    /// be drawn.</summary>
    internal long DrawSeed()
    {
        if (Random is null)
            return 0;
        using var drawn = torch.randint(
            0, long.MaxValue, new long[] { 1 }, ScalarType.Int64, Random.device, generator: Random);
        return drawn.ToInt64();
    }

    /// <summary>The stream of one part; null where nothing may be drawn.</summary>
    internal Generator? Stream(long seed, int part) =>
        Random is null ? null : Seeds.GeneratorFor(seed, $"part.{part}", Random.device);

    /// <summary>A pass that builds a graph.</summary>
    /// <param name="random">Random numbers for dropout and router noise.</param>
    /// <param name="taskIds">[B] or [B, T] int64, or null.</param>
    /// <param name="tokenMask">[B, T] bool, or null.</param>
    /// <param name="positions">[B, T] int64, or null.</param>
    /// <param name="segments">The sequences of packed rows, or null.</param>
    /// <param name="gradientCheckpointing">Whether blocks are run again in <see cref="Backward"/> instead of
    /// kept.</param>
    /// <param name="promptMask">[B, T] bool, or null.</param>
    /// <param name="share">Which rows of a larger batch these are, or null.</param>
    /// <param name="headTokens">Which of the whole batch's tokens the head sees, [M] int64, or null.</param>
    public static ForwardPass ForTraining(
        Generator? random = null, Tensor? taskIds = null, Tensor? tokenMask = null, Tensor? positions = null,
        SequenceSegments? segments = null, bool gradientCheckpointing = false, Tensor? promptMask = null,
        BatchShare? share = null, Tensor? headTokens = null) =>
        new()
        {
            IsTraining = true, Drops = true, HeadTokens = headTokens, Random = random, TaskIds = taskIds,
            TokenMask = tokenMask, Positions = positions, Segments = segments,
            GradientCheckpointing = gradientCheckpointing, PromptMask = promptMask, Share = share,
        };

    /// <summary>A pass that builds a graph without noise, for fitting a few numbers to a text.</summary>
    /// <param name="taskIds">[B] or [B, T] int64, or null.</param>
    public static ForwardPass ForFitting(Tensor? taskIds = null) => new() { IsTraining = true, TaskIds = taskIds };

    /// <summary>A pass that builds no graph.</summary>
    /// <param name="cache">Keys and values of earlier tokens, or null.</param>
    /// <param name="taskIds">[B] or [B, T] int64, or null.</param>
    /// <param name="tokenMask">[B, T] bool, or null.</param>
    /// <param name="positions">[B, T] int64, or null.</param>
    /// <param name="keyMask">[B, S] bool, or null.</param>
    /// <param name="segments">The sequences of packed rows, or null.</param>
    /// <param name="promptMask">[B, T] bool, or null.</param>
    public static ForwardPass ForInference(
        KeyValueCache? cache = null, Tensor? taskIds = null, Tensor? tokenMask = null, Tensor? positions = null,
        Tensor? keyMask = null,
        SequenceSegments? segments = null, Tensor? promptMask = null) =>
        new()
        {
            PromptMask = promptMask, Cache = cache, TaskIds = taskIds, TokenMask = tokenMask, Positions = positions,
            KeyMask = keyMask, Segments = segments,
        };

    /// <summary>The ids of rows that all belong to one task; null where there is none.</summary>
    /// <remarks>Shapes: → [B] int64.</remarks>
    public static Tensor? TaskIdsOf(long? task, long rows, Device device) =>
        task is { } id ? torch.full([rows], id, ScalarType.Int64, device) : null;

    /// <summary>Sends the gradients of a loss on this forward to everything that learns. With
    /// <see cref="GradientCheckpointing"/> the loss's own <c>backward()</c> would end at the last block; without, this
    /// is the same.</summary>
    public void Backward(Tensor loss)
    {
        Gradients.backward(loss);
        for (var last = _checkpoints.Count - 1; last >= 0; last--)
            _checkpoints[last].Backward(this);
        _checkpoints.Clear();
    }

    /// <summary>Appends a record. The tensors of an <see cref="IPassRecord"/> are kept for the life of the
    /// pass.</summary>
    public void Emit<T>(T record)
        where T : notnull
    {
        if (record is IPassRecord holder)
        {
            foreach (var tensor in holder.Tensors)
                Keep(tensor);
        }

        _records.Add(record);
    }

    /// <summary>Moves a tensor to the scope that was open when the pass was made, and returns it.</summary>
    public Tensor Keep(Tensor tensor)
    {
        tensor.DetachFromDisposeScope();
        _scope?.Attach(tensor);
        return tensor;
    }

    /// <summary>The records of one kind, in the order they were emitted.</summary>
    public IReadOnlyList<T> Records<T>() => [.. _records.OfType<T>()];

    /// <summary>This pass for the tokens in its cache and its own, from the first on.</summary>
    /// <remarks>Shapes: positions [B, S] int64.</remarks>
    internal ForwardPass Again(Tensor positions) => new(this)
    {
        IsTraining = IsTraining, Drops = Drops, Random = Random, TaskIds = TaskIds, TokenMask = KeyMask,
        KeyMask = KeyMask,
        Cache = Cache, Positions = positions,
    };

    /// <summary>The pass that runs before this one, over its tokens.</summary>
    /// <param name="keeps">Whether it goes on from token to token, as this one does.</param>
    public ForwardPass Before(bool keeps) => new()
    {
        IsPreliminary = true, TaskIds = TaskIds, TokenMask = TokenMask, PromptMask = PromptMask, KeyMask = KeyMask,
        Positions = Positions, Segments = Segments, Cache = keeps ? Cache?.Before : null,
    };

    /// <summary>This pass for some of its tokens, as one row: what is known of each goes along. Records and kept
    /// tensors
    /// are this pass's.</summary>
    /// <remarks>Shapes: tokens [n] int64, indices into the flattened B·T tokens.</remarks>
    /// <param name="tokens">Which.</param>
    /// <param name="length">T.</param>
    /// <param name="random">Random numbers of its own: ranks do not all have tokens for it.</param>
    internal ForwardPass ForTokens(Tensor tokens, long length, Generator? random)
    {
        return new(this)
        {
            IsTraining = IsTraining, Drops = Drops, Random = random, TaskIds = Of(TaskIds), TokenMask = Of(TokenMask),
            PromptMask = Of(PromptMask), SomeOf = Share ?? SomeOf,
            Some = Share?.Tokens(length, tokens.device).index_select(0, tokens) ?? tokens,
        };

        Tensor? Of(Tensor? known) => known is null ? null
            : (known.dim() == 1 ? known.unsqueeze(1).expand(known.shape[0], length) : known).reshape(-1)
                .index_select(0, tokens).unsqueeze(0);
    }

    /// <summary>Number of records of any kind.</summary>
    internal int RecordCount => _records.Count;

    /// <summary>The tensors of the records from one on, in order.</summary>
    internal IReadOnlyList<Tensor> TensorsSince(int record) =>
        [.. _records.Skip(record).OfType<IPassRecord>().SelectMany(holder => holder.Tensors)];

    /// <summary>Runs a block so that <see cref="Backward"/> can run it again.</summary>
    internal Tensor Checkpoint(Tensor hidden, Func<Tensor, ForwardPass, Tensor> block)
    {
        var checkpoint = GradientCheckpoint.Run(hidden, this, block);
        _checkpoints.Add(checkpoint);
        return checkpoint.Output;
    }

    /// <summary>This pass as it was when a number of records had been emitted, for running a block again.</summary>
    internal ForwardPass Again(Generator? random, int records)
    {
        var again = ForTraining(random, TaskIds, TokenMask, Positions, Segments, promptMask: PromptMask,
            share: Share);
        again._records.AddRange(_records.Take(records));
        return again;
    }
}

/// <summary>Over which tokens a model runs once before the pass that counts.</summary>
public enum PreliminaryPass
{
    /// <summary>None.</summary>
    None,

    /// <summary>Those of a prompt: what comes after it goes by the same result.</summary>
    Prompt,

    /// <summary>All of them.</summary>
    Tokens,
}

/// <summary>What a preliminary pass made of the tokens: final normalised activations.</summary>
/// <param name="Hidden">[B, T, D].</param>
public sealed record PreliminaryHidden(Tensor Hidden) : IPassRecord
{
    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => [Hidden];
}

/// <summary>A record that carries tensors out of a forward, so that they outlive the dispose scope of the block that
/// made them.</summary>
public interface IPassRecord
{
    /// <summary>Every tensor the record holds.</summary>
    IEnumerable<Tensor> Tensors { get; }
}

/// <summary>Which tokens of a packed batch belong to which sequence. A sequence sees itself alone, and its positions
/// begin at 0.</summary>
/// <remarks>S sequences share B rows of T tokens; what is in none of them is padding.</remarks>
public sealed class SequenceSegments
{
    private readonly long[] _borders;
    private readonly long _rows;
    private readonly long _length;

    /// <summary>Makes the segments of B rows of T tokens.</summary>
    /// <param name="rows">B.</param>
    /// <param name="length">T.</param>
    /// <param name="borders">First token and end of each sequence, in order, in the flattened B·T tokens:
    /// [2·S].</param>
    public SequenceSegments(long rows, long length, IEnumerable<long> borders)
    {
        (_rows, _length, _borders) = (rows, length, [.. borders]);
        if (_borders.Length == 0)
            throw new ArgumentException("a packed batch has no sequence", nameof(borders));
    }

    /// <summary>Number of sequences S.</summary>
    public int Count => _borders.Length / 2;

    /// <summary>First token and end of each sequence in the flattened B·T tokens.</summary>
    public ReadOnlySpan<long> Borders => _borders;

    /// <summary>Place of each token in its sequence; 0 for padding.</summary>
    /// <remarks>Shapes: → [B, T] int64.</remarks>
    public Tensor Positions(Device device) => PerToken((_, place) => place, device);

    /// <summary>Index of each token's sequence, to take what is known of each sequence (<c>index_select</c>) or to sum
    /// over its tokens (<c>index_add</c>); padding has 0 and is told apart by the token mask.</summary>
    /// <remarks>Shapes: → [B, T] int64, 0 to S − 1.</remarks>
    public Tensor SequenceIds(Device device) => PerToken((sequence, _) => sequence, device);

    /// <summary>Throws where the ids of a forward have another shape than these segments.</summary>
    public void Check(Tensor ids)
    {
        if (ids.shape[0] != _rows || ids.shape[1] != _length)
            throw new ArgumentException(
                $"segments are of [{_rows}, {_length}] tokens, ids are [{ids.shape[0]}, {ids.shape[1]}]", nameof(ids));
    }

    private Tensor PerToken(Func<long, long, long> value, Device device)
    {
        var values = new long[_rows * _length];
        for (var sequence = 0; sequence < Count; sequence++)
        {
            var first = _borders[2 * sequence];
            for (var at = first; at < _borders[(2 * sequence) + 1]; at++)
                values[at] = value(sequence, at - first);
        }
        return torch.tensor(values, [_rows, _length], device: device);
    }
}
