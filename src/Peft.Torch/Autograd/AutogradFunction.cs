using System.Runtime.CompilerServices;
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
/// <para>An output that <see cref="Repeat"/> computes again is not kept by the functions of this class that take it as
/// an input: the first of them to need it in backward has it computed, the others find it, and it goes before the
/// gradients go on from it.</para>
/// <para>Use it where a fused kernel pays: a call costs some microseconds more than an operation of libtorch.</para>
/// </remarks>
public abstract unsafe class AutogradFunction
{
    // By the handle of their output: neither its views nor what is detached from it are found here.
    private static readonly ConditionalWeakTable<Tensor, AutogradFunction> Repeatable = [];

    private AutogradNode? _node;
    private Tensor?[] _toSave = [];
    private Kept[] _saved = [];
    private Tensor? _again;
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

    /// <summary>Whether <see cref="Repeat"/> gives the one output again, at far less cost than what made its
    /// inputs.</summary>
    protected virtual bool IsRepeatable => false;

    /// <summary>Computes the one output again, to the same bits, in the backward pass.</summary>
    /// <param name="saved">What <see cref="Save"/> kept.</param>
    protected virtual Tensor Repeat(Tensor?[] saved) =>
        throw new NotSupportedException($"{GetType().Name}: its output cannot be computed again.");

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
        var outputs = Array.ConvertAll(Record(inputs), Tensor.UnsafeCreateTensor);
        if (IsRepeatable) Repeatable.Add(outputs[0], this);
        return outputs;
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
            _saved = Array.ConvertAll(_toSave, Keep);
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

        var saved = Unpack();
        Forget();
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
        Forget();
        foreach (var kept in _saved)
        {
            if (kept.Tensor != 0) DeleteSaved(kept.Tensor);
        }

        _saved = [];
    }

    // What was changed in place since is another tensor than the one that would be computed.
    private Kept Keep(Tensor? tensor) =>
        tensor is not null && Repeatable.TryGetValue(tensor, out var source) && VersionOf(tensor.Handle) == 0
            ? new(0, source) : new(_node!.Keep(tensor), null);

    private Tensor?[] Unpack()
    {
        if (_released)
        {
            throw new InvalidOperationException(
                $"{GetType().Name}: backward already went through this graph and freed it. Pass retain_graph: true "
                    + "the first time.");
        }

        return Array.ConvertAll(_saved, kept => kept.Source?.Again() ?? _node!.Unpack(kept.Tensor));
    }

    // Lives until the gradients of all who took it have come, or the graph goes.
    private Tensor Again() => _again ??= Repeat(Unpack()).DetachFromDisposeScope();

    private void Forget()
    {
        _again?.Dispose();
        _again = null;
    }

    /// <summary>What stands for a saved tensor: its handle, or who computes it again.</summary>
    private readonly record struct Kept(nint Tensor, AutogradFunction? Source);
}
