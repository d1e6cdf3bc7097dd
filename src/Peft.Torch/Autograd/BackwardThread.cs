using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Peft.Torch;

/// <summary>What a thread that runs backward functions keeps between them.</summary>
internal sealed unsafe class BackwardThread
{
    [ThreadStatic]
    private static BackwardThread? _current;

    /// <summary>The last failure on a thread that called no backward: those of libtorch's own, for devices other than the CPU.</summary>
    private static Exception? _elsewhere;

    private readonly List<Tensor> _returned = [];
    private nint* _buffer;
    private int _capacity;
    private int _depth;
    private Exception? _failure;

    private BackwardThread()
    {
    }

    ~BackwardThread() => NativeMemory.Free(_buffer);

    internal static BackwardThread Current => _current ??= new BackwardThread();

    /// <summary>Whether graphs may be walked again. Unknown outside <see cref="Run"/>, so then they are kept.</summary>
    internal bool KeepGraph { get; private set; } = true;

    /// <summary>Memory for pointers that C++ reads right after the call that asked for it.</summary>
    internal nint* Buffer(int count)
    {
        if (count > _capacity)
        {
            _buffer = (nint*)NativeMemory.Realloc(_buffer, (nuint)(count * sizeof(nint)));
            _capacity = count;
        }

        return _buffer;
    }

    /// <summary>Keeps a gradient for the moment until C++ has taken its own share.</summary>
    internal nint Return(Tensor tensor)
    {
        _returned.Add(tensor.DetachFromDisposeScope());
        return tensor.Handle;
    }

    /// <summary>Frees the gradients that C++ has taken by now.</summary>
    internal void FreeReturned()
    {
        foreach (var tensor in _returned) tensor.Dispose();
        _returned.Clear();
    }

    internal void Fail(Exception error)
    {
        if (_depth > 0) _failure = error;
        else Volatile.Write(ref _elsewhere, error);
    }

    /// <summary>Runs a backward pass; an exception of a function in it is thrown as it was.</summary>
    internal void Run(bool keepGraph, Action pass)
    {
        var (outerKeep, outerFailure) = (KeepGraph, _failure);
        (KeepGraph, _failure) = (keepGraph, null);
        _depth++;
        try
        {
            pass();
        }
        catch (Exception) when ((_failure ?? Interlocked.Exchange(ref _elsewhere, null)) is { } cause)
        {
            ExceptionDispatchInfo.Throw(cause);
        }
        finally
        {
            _depth--;
            (KeepGraph, _failure) = (outerKeep, outerFailure);
            FreeReturned();
        }
    }
}
