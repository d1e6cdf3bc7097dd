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
    private AutogradFunction?[] _sources = [];
    private bool[] _adds = [];
    private (Tensor Tensor, long Pass)? _sum;
    private DisposeScope? _scope;
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

    /// <summary>Whether <see cref="Repeat"/> gives the first output again, at far less cost than what made its
    /// inputs.</summary>
    protected virtual bool IsRepeatable => false;

    /// <summary>Computes the first output again, to the same bits, in the backward pass.</summary>
    /// <param name="saved">What <see cref="Save"/> kept.</param>
    protected virtual Tensor Repeat(Tensor?[] saved) =>
        throw new NotSupportedException($"{GetType().Name}: its output cannot be computed again.");

    /// <summary>The gradient of input number <paramref name="input"/> as far as others have made it in this pass:
    /// <see cref="Backward"/> adds its own to it, in place, and returns it. Null: there is none, and it returns a
    /// tensor of its own that nothing else holds.</summary>
    protected Tensor? SumSoFar(int input)
    {
        if (_sources[input] is not { } source || BackwardThread.Current.Pass is not { } pass) return null;
        _adds[input] = true;
        return Here(source.TakeSum(pass));
    }

    /// <summary>The gradient of an input as it is returned: that of a leaf is left in its <c>grad</c> here, where the
    /// pass goes there anyway, and null is returned. The engine would copy it, since it sees that others hold
    /// it.</summary>
    /// <param name="input">As <see cref="Save"/> kept it.</param>
    /// <param name="gradient">Its gradient, which nothing else holds, or null.</param>
    protected static Tensor? Leave(Tensor input, Tensor? gradient)
    {
        if (gradient is null || !input.is_leaf || BackwardThread.Current.Pass is null) return gradient;
        if (input.grad is { } before) before.add_(gradient);
        else input.grad = gradient;
        return null;
    }

    /// <summary>The gradient that a leaf has already, where <see cref="Leave"/> would add to it: who makes a gradient
    /// of the leaf's own type adds it there instead, and returns null. Null where there is none.</summary>
    /// <param name="input">As <see cref="Save"/> kept it.</param>
    protected static Tensor? LeftSoFar(Tensor input) =>
        input.is_leaf && BackwardThread.Current.Pass is not null && input.grad is { } before
        && before.is_contiguous() && before.dtype == input.dtype ? before : null;

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

            _sources = Array.ConvertAll(inputs, SourceOf);
            _adds = new bool[inputs.Length];
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
    /// <param name="gradients">Of the outputs.</param>
    /// <param name="keepGraph">Whether it may be asked again.</param>
    /// <param name="scope">Where temporaries die.</param>
    internal Tensor?[] Differentiate(Tensor?[] gradients, bool keepGraph, DisposeScope scope)
    {
        if (IsGradEnabled() != 0)
        {
            throw new NotSupportedException(
                $"{GetType().Name}: a second derivative was requested (create_graph); only first derivatives exist.");
        }

        _scope = scope;
        if (BackwardThread.Current.Pass is { } pass && Here(TakeSum(pass)) is { } sum)
            gradients[0] = gradients[0] is { } rest ? sum.add_(rest) : sum;
        var saved = Unpack();
        Forget();
        if (!keepGraph) Release();
        Array.Clear(_adds);
        var found = Backward(gradients, saved);
        if (found.Length != _needs.Length)
            throw new InvalidOperationException(
                $"{GetType().Name} returned {found.Length} gradients for {_needs.Length} inputs.");
        for (var i = 0; i < found.Length; i++)
        {
            if (!_adds[i] || found[i] is not { } gradient) continue;
            _sources[i]!.PutSum(gradient);
            found[i] = null;
        }

        _scope = null;
        return found;
    }

    /// <summary>Frees what was saved.</summary>
    internal void Release()
    {
        _released = true;
        Forget();
        _sum?.Tensor.Dispose();
        _sum = null;
        foreach (var kept in _saved)
        {
            if (kept.Tensor != 0) DeleteSaved(kept.Tensor);
        }

        _saved = [];
    }

    private Kept Keep(Tensor? tensor) =>
        SourceOf(tensor) is { } source ? new(0, source) : new(_node!.Keep(tensor), null);

    // What was changed in place since is another tensor than the one that would be computed.
    private static AutogradFunction? SourceOf(Tensor? tensor) =>
        tensor is not null && Repeatable.TryGetValue(tensor, out var source) && VersionOf(tensor.Handle) == 0
            ? source : null;

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

    // What a pass that failed left is nothing to add to. The sum is in no scope.
    private Tensor? TakeSum(long pass)
    {
        if (_sum is not { } sum) return null;
        _sum = null;
        if (sum.Pass == pass)
        {
            BackwardThread.Current.Count(-1);
            return sum.Tensor;
        }

        sum.Tensor.Dispose();
        return null;
    }

    private Tensor? Here(Tensor? sum)
    {
        if (sum is not null) _scope!.Attach(sum);
        return sum;
    }

    private void PutSum(Tensor gradient)
    {
        var (thread, own) = (BackwardThread.Current, gradient);
        // Another input of the same function may be the same tensor.
        if (TakeSum(thread.Pass!.Value) is { } before) own = before.add_(gradient);
        _sum = (own.DetachFromDisposeScope(), thread.Pass.Value);
        thread.Count(1);
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
