using static Peft.Torch.Autograd.NativeAutograd;

namespace Peft.Torch.Autograd;

/// <summary>One call of an operation whose derivative is written here, in C#: make one, set its settings in the
/// constructor, and <see cref="Apply"/> it once. PyTorch's <c>torch.autograd.Function</c>.</summary>
/// <remarks>
/// <para>TorchSharp's own base class loses an exception in backward together with the process, leaves every gradient in
/// the caller's scope, keeps a spare copy of every output and makes two native thunks a call. This one stands on the
/// same exports of its library: an exception in <see cref="Backward"/> ends the backward pass with an error
/// (<see cref="Gradients"/> throws the original), gradients are freed as soon as the engine has them, thunks are
/// reused.</para>
/// <para>Use it where a fused kernel pays: a call costs some microseconds more than an operation of libtorch.</para>
/// </remarks>
public abstract unsafe class AutogradFunction
{
    private AutogradNode? _node;
    private Tensor?[] _toSave = [];
    private nint[] _saved = [];
    private bool[] _needs = [];
    private bool _released;

    /// <summary>Whether input number <paramref name="input"/> of the call requires a gradient and one is
    /// recorded.</summary>
    protected bool Needs(int input) => _needs[input];

    /// <summary>Whether this call becomes part of a graph; where not, <see cref="Save"/> keeps nothing.</summary>
    protected bool Recorded => _node is not null;

    /// <summary>Computes the outputs; no gradient is recorded meanwhile. Temporaries are freed after the
    /// call.</summary>
    /// <param name="inputs">As given to <see cref="Apply"/>.</param>
    protected abstract Tensor[] Forward(Tensor?[] inputs);

    /// <summary>Computes the gradients of the inputs, in their order; null where none is needed (see
    /// <see cref="Needs"/>). Temporaries are freed after the call.</summary>
    /// <param name="gradients">Of the outputs, in their order; null where nothing came back.</param>
    /// <param name="saved">What <see cref="Save"/> kept.</param>
    protected abstract Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved);

    /// <summary>Keeps inputs, outputs or intermediate results for <see cref="Backward"/>; call it once, in
    /// <see cref="Forward"/>. A tensor changed in place in between is an error there.</summary>
    protected void Save(params Tensor?[] tensors) => _toSave = Recorded ? tensors : [];

    /// <summary>Runs the operation and returns its one output.</summary>
    /// <param name="inputs">Every tensor that a gradient may go to, and others; null for those that are absent.</param>
    public Tensor Apply(params Tensor?[] inputs) => ApplyAll(inputs)[0];

    /// <summary>Runs the operation and returns its outputs.</summary>
    public Tensor[] ApplyAll(params Tensor?[] inputs)
    {
        if (_needs.Length != 0)
            throw new InvalidOperationException($"{GetType().Name} was applied before; one object is one call.");
        _needs = new bool[inputs.Length];
        if (!NeedsGraph(inputs)) return Evaluate(inputs);
        var handles = Record(inputs);
        return Array.ConvertAll(handles, Tensor.UnsafeCreateTensor);
    }

    private bool NeedsGraph(Tensor?[] inputs)
    {
        if (IsGradEnabled() == 0) return false;
        var any = false;
        for (var i = 0; i < inputs.Length; i++) any |= _needs[i] = inputs[i] is { requires_grad: true };
        return any;
    }

    private Tensor[] Evaluate(Tensor?[] inputs)
    {
        using var scope = torch.NewDisposeScope();
        var outputs = Forward(inputs);
        foreach (var output in outputs) output.MoveToOuterDisposeScope();
        return outputs;
    }

    private nint[] Record(Tensor?[] inputs)
    {
        using var scope = torch.NewDisposeScope();
        _node = AutogradNode.Rent(this);
        try
        {
            Tensor[] outputs;
            SetGradEnabled(0);
            try
            {
                outputs = Forward(inputs);
            }
            finally
            {
                SetGradEnabled(1);
            }

            var results = _node.Connect(inputs, outputs);
            _saved = Array.ConvertAll(_toSave, _node.Keep);
            _toSave = [];
            return results;
        }
        finally
        {
            // From here the graph alone owns the node; where no graph came to be it goes now.
            _node.ReleaseShared();
        }
    }

    /// <summary>The engine asks for gradients. Errors: whatever <see cref="Backward"/> throws; the graph was freed;
    /// second derivatives.</summary>
    internal Tensor?[] Differentiate(Tensor?[] gradients, bool keepGraph)
    {
        if (IsGradEnabled() != 0)
        {
            throw new NotSupportedException(
                $"{GetType().Name}: a second derivative was requested (create_graph); only first derivatives exist.");
        }

        if (_released)
        {
            throw new InvalidOperationException(
                $"{GetType().Name}: backward already went through this graph and freed it. Pass retain_graph: true "
                    + "the first time.");
        }

        var saved = Array.ConvertAll(_saved, _node!.Unpack);
        if (!keepGraph) Release();
        var found = Backward(gradients, saved);
        return found.Length == _needs.Length
            ? found
            : throw new InvalidOperationException(
                $"{GetType().Name} returned {found.Length} gradients for {_needs.Length} inputs.");
    }

    /// <summary>Frees what was saved.</summary>
    internal void Release()
    {
        _released = true;
        foreach (var saved in _saved)
        {
            if (saved != 0) DeleteSaved(saved);
        }

        _saved = [];
    }
}
