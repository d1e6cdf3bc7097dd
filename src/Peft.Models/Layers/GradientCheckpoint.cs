namespace Peft.Models.Layers;

/// <summary>One block whose activations are not kept: forward keeps its input alone, backward runs it again with a
/// graph.</summary>
/// <remarks>
/// Source: Chen et al. 2016, arXiv:1604.06174, section 4 (one segment a block).
/// Output and records of the first run are leaves of the loss's graph, so the loss's own backward leaves their
/// gradients in them; the second run sends these on into the block. Random numbers are drawn again from the state
/// before the first run.
/// </remarks>
internal sealed class GradientCheckpoint
{
    private readonly Func<Tensor, ForwardPass, Tensor> _block;
    private readonly Tensor? _source; // where the input's gradient goes on, when no block comes before
    private readonly Tensor _input;
    private readonly Tensor _output;
    private readonly byte[]? _random;
    private readonly int _recordsBefore;
    private readonly IReadOnlyList<(int At, Tensor Leaf)> _leaves;

    private GradientCheckpoint(
        Func<Tensor, ForwardPass, Tensor> block, Tensor? source, Tensor input, Tensor output, byte[]? random,
        int recordsBefore,
        IReadOnlyList<(int, Tensor)> leaves) =>
        (_block, _source, _input, _output, _random, _recordsBefore, _leaves) =
            (block, source, input, output, random, recordsBefore, leaves);

    /// <summary>The block's output, a leaf.</summary>
    public Tensor Output => _output;

    /// <summary>Runs a block for the first time, without a graph.</summary>
    /// <remarks>Shapes: hidden [B, T, D]; the pass takes it over.</remarks>
    public static GradientCheckpoint Run(Tensor hidden, ForwardPass pass, Func<Tensor, ForwardPass, Tensor> block)
    {
        pass.Keep(hidden);
        var hasSource = hidden.requires_grad && !hidden.is_leaf;
        var input = hasSource ? pass.Keep(hidden.detach().requires_grad_()) : hidden;
        var random = pass.Random?.GetState();
        var before = pass.RecordCount;
        Tensor output;
        using (torch.no_grad())
        using (torch.NewDisposeScope())
            output = pass.Keep(block(input, pass));
        // What a loss may differentiate: floating tensors that are not someone else's leaves.
        var leaves = pass.TensorsSince(before)
            .Select((tensor, at) => (At: at, Leaf: tensor))
            .Where(pair => pair.Leaf.dtype.IsFloatingPoint() && !pair.Leaf.requires_grad)
            .ToList();
        foreach (var (_, leaf) in leaves)
            leaf.requires_grad_();
        return new GradientCheckpoint(
            block, hasSource ? hidden : null, input, output.requires_grad_(), random, before, leaves);
    }

    /// <summary>Runs the block again and sends the gradients of its output and records back through it.</summary>
    public void Backward(ForwardPass pass)
    {
        using var scope = torch.NewDisposeScope();
        using var random = Replay(pass);
        var again = pass.Again(random, _recordsBefore);
        var roots = new List<Tensor>();
        var slopes = new List<Tensor>();
        Tensor output;
        // The handles of the second run close before its backward, which frees its activations one by one.
        using (torch.NewDisposeScope())
            output = again.Keep(_block(_input, again));
        Add(_output, output);
        var records = again.TensorsSince(_recordsBefore);
        foreach (var (at, leaf) in _leaves)
        {
            if (at >= records.Count || !records[at].shape.AsSpan().SequenceEqual(leaf.shape))
                throw new InvalidOperationException(
                    "a block emitted other records when it was run again; with gradient checkpointing what a block "
                        + "emits must depend on its "
                    + "input, the pass and its random numbers alone");
            Add(leaf, records[at]);
            leaf.requires_grad = false;
        }

        if (roots.Count > 0)
            Gradients.backward(roots, slopes);
        _output.Dispose();
        if (_source is null)
            return;
        if (_input.grad is { } slope)
            Gradients.backward(_source, slope);
        _input.Dispose();

        void Add(Tensor first, Tensor second)
        {
            if (first.grad is not { } gradient)
                return;
            // Two handles of one tensor have one gradient.
            first.grad = null;
            if (!second.requires_grad)
                return;
            roots.Add(second);
            slopes.Add(gradient);
        }
    }

    private Generator? Replay(ForwardPass pass)
    {
        if (_random is null)
            return null;
        var random = new Generator(device: pass.Random!.device);
        random.SetState(_random);
        return random;
    }
}
