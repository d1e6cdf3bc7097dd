namespace Peft.Torch;

/// <summary>Owns the tensors that its thread makes while it is the innermost scope, and frees them together.</summary>
/// <remarks>Scopes of a thread nest: one is closed on the thread that opened it, the innermost first; anything else
/// throws.</remarks>
public sealed class DisposeScope : IDisposable
{
    [ThreadStatic]
    private static DisposeScope? _current;

    private readonly List<Tensor> _members = [];
    private readonly DisposeScope? _outer;
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private bool _closed;

    /// <summary>Opens a scope inside the thread's innermost one.</summary>
    internal DisposeScope()
    {
        _outer = _current;
        _current = this;
    }

    /// <summary>The calling thread's innermost open scope; null where there is none.</summary>
    public static DisposeScope? Current => _current;

    /// <summary>Number of tensors the scope will free.</summary>
    public int Count => _members.Count;

    /// <summary>Hands a tensor to the next scope outward; where there is none the caller disposes it.</summary>
    public Tensor MoveToOuter(Tensor tensor)
    {
        Leave(tensor);
        _outer?.Add(tensor);
        return tensor;
    }

    /// <summary>Hands several tensors to the next scope outward.</summary>
    public void MoveToOuter(params ReadOnlySpan<Tensor> tensors)
    {
        foreach (var tensor in tensors) MoveToOuter(tensor);
    }

    /// <summary>Takes a tensor out of the scope; the caller disposes it.</summary>
    public void Detach(Tensor tensor) => Leave(tensor);

    /// <summary>Takes a tensor into this scope, out of the one it was in. A parameter never joins.</summary>
    public Tensor Attach(Tensor tensor)
    {
        if (tensor is Parameter || ReferenceEquals(tensor.Scope, this)) return tensor;
        tensor.Scope?.Leave(tensor);
        Add(tensor);
        return tensor;
    }

    /// <summary>Frees the members.</summary>
    /// <exception cref="InvalidOperationException">A scope inside it is still open, or the thread is another
    /// one.</exception>
    public void Dispose()
    {
        if (_closed) return;
        if (Environment.CurrentManagedThreadId != _thread)
        {
            throw new InvalidOperationException("dispose scope - closed on another thread - allowed: the thread that opened it - "
                + "do not carry a scope across await or into a task");
        }

        if (!ReferenceEquals(_current, this))
        {
            throw new InvalidOperationException("dispose scope - closed while a scope inside it is open - allowed: the innermost "
                + "first - close scopes with using");
        }

        _closed = true;
        _current = _outer;
        foreach (var member in _members)
        {
            member.Scope = null;
            member.Dispose();
        }

        _members.Clear();
    }

    /// <summary>A new member.</summary>
    internal void Add(Tensor tensor)
    {
        tensor.Scope = this;
        tensor.ScopeSlot = _members.Count;
        _members.Add(tensor);
    }

    /// <summary>A member was disposed. From another thread it stays in the list: disposing twice does no
    /// harm.</summary>
    internal void Forget(Tensor tensor)
    {
        if (Environment.CurrentManagedThreadId == _thread) Leave(tensor);
    }

    // The last member takes the free place: leaving costs the same however many there are.
    private void Leave(Tensor tensor)
    {
        if (!ReferenceEquals(tensor.Scope, this)) return;
        var last = _members[^1];
        _members[tensor.ScopeSlot] = last;
        last.ScopeSlot = tensor.ScopeSlot;
        _members.RemoveAt(_members.Count - 1);
        tensor.Scope = null;
    }
}
