using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Peft.Torch.Autograd;

/// <summary>Backward passes, and the gradients they leave.</summary>
public static class Gradients
{
    /// <summary>Adds the gradient of every leaf to its <c>grad</c>, and frees what the graph had kept as it goes. An
    /// exception of an <see cref="AutogradFunction"/> on the way comes out as it was thrown.</summary>
    /// <param name="tensor">A scalar, or any tensor together with <paramref name="gradient"/>.</param>
    /// <param name="gradient">Of the tensor; null means 1.</param>
    /// <param name="retain_graph">The graph is walked again later.</param>
    public static void backward(Tensor tensor, Tensor? gradient = null, bool retain_graph = false) =>
        backward([tensor], gradient is null ? null : [gradient], retain_graph);

    /// <summary>The same from several tensors at once.</summary>
    /// <param name="tensors">Where the pass begins.</param>
    /// <param name="gradients">One of each tensor; null means 1 of each.</param>
    /// <param name="retain_graph">The graph is walked again later.</param>
    public static void backward(IList<Tensor> tensors, IList<Tensor>? gradients, bool retain_graph = false) =>
        BackwardThread.Current.Run(
            retain_graph, () => torch.autograd.backward(tensors, gradients, retain_graph, create_graph: false),
            reachesAll: true);

    /// <summary>The gradients of some tensors, leaves or not, in their order, which stay out of every <c>grad</c>. In
    /// place of <c>torch.autograd.grad</c>, in which an error ends the process: the library catches none
    /// there.</summary>
    /// <param name="outputs">Where the pass begins.</param>
    /// <param name="inputs">Whose gradients are wanted.</param>
    /// <param name="gradients">One of each output; null means 1 of each.</param>
    /// <param name="retain_graph">The graph is walked again later.</param>
    /// <exception cref="ArgumentException">The outputs do not depend on one of the inputs.</exception>
    public static Tensor[] grad(
        IList<Tensor> outputs, IList<Tensor> inputs, IList<Tensor>? gradients = null, bool retain_graph = false)
    {
        var held = inputs.Select(input => input.grad).ToArray();
        foreach (var input in inputs) input.grad = null;
        try
        {
            BackwardThread.Current.Run(retain_graph, () =>
                torch.autograd.backward(outputs, gradients, retain_graph, create_graph: false, inputs));
            return [.. inputs.Select(
                (input, i) => input.grad ?? throw new ArgumentException($"the outputs do not depend on input {i}"))];
        }
        finally
        {
            for (var i = 0; i < held.Length; i++) inputs[i].grad = held[i];
        }
    }

    /// <summary>One norm over the gradients of all parameters; where it is larger than max_norm the gradients are
    /// scaled by max_norm / (norm + 1e-6). Waits for the device once. Source: torch.nn.utils.clip_grad_norm_.</summary>
    /// <returns>The norm before scaling; 0 without gradients; NaN or infinity where a gradient is.</returns>
    public static double clip_grad_norm_(IEnumerable<Tensor> parameters, double max_norm, double norm_type = 2)
    {
        using var scope = torch.NewDisposeScope();
        using var outside = torch.no_grad();
        var gradients = parameters.Select(p => p.grad).OfType<Tensor>().ToList();
        if (gradients.Count == 0) return 0;
        var device = gradients[0].device;
        var type = gradients.Any(g => g.dtype == ScalarType.Float64) ? ScalarType.Float64 : ScalarType.Float32;
        var norms = gradients.Select(g => torch.linalg.vector_norm(Wide(g), norm_type))
            .Select(n => n.dtype == type && n.device_type == DeviceType.CPU ? n : n.to(type, device)).ToList();
        var total = torch.linalg.vector_norm(torch.stack(norms).to(ScalarType.Float64), norm_type);
        var norm = total.ToDouble();
        if (norm + 1e-6 <= max_norm) return norm;
        using var factor = (max_norm / (norm + 1e-6)).ToScalar();
        foreach (var gradient in gradients) gradient.mul_(factor);
        return norm;
    }

    /// <summary>Norms of reduced types are summed in float32.</summary>
    private static Tensor Wide(Tensor gradient) =>
        gradient.dtype is ScalarType.Float64 or ScalarType.Float32 ? gradient : gradient.to(ScalarType.Float32);
}

/// <summary>What a thread that runs backward functions keeps between them.</summary>
internal sealed unsafe class BackwardThread
{
    [ThreadStatic]
    private static BackwardThread? _current;

    /// <summary>The last failure on a thread that called no backward: those of libtorch's own, for devices other than
    /// the CPU.</summary>
    private static Exception? _elsewhere;

    private readonly List<Tensor> _returned = [];
    private nint* _buffer;
    private int _capacity;
    private static long _passes;

    private int _depth;
    private int _sums;
    private Exception? _failure;

    private BackwardThread()
    {
    }

    ~BackwardThread() => NativeMemory.Free(_buffer);

    internal static BackwardThread Current => _current ??= new BackwardThread();

    /// <summary>Whether graphs may be walked again. Unknown outside <see cref="Run"/>, so then they are kept.</summary>
    internal bool KeepGraph { get; private set; } = true;

    /// <summary>The number of the pass that this thread is in, where it goes to every function that the result was made
    /// of; else null. Then no one but the maker of an output sees its gradient, and others may add it up.</summary>
    internal long? Pass { get; private set; }

    /// <summary>Counts sums of gradients that were begun, less those that came to whom they are for.</summary>
    internal void Count(int sums) => _sums += sums;

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
    internal void Run(bool keepGraph, Action pass, bool reachesAll = false)
    {
        var (outerKeep, outerFailure, outerPass, outerSums) = (KeepGraph, _failure, Pass, _sums);
        (KeepGraph, _failure, Pass, _sums) =
            (keepGraph, null, reachesAll ? Interlocked.Increment(ref _passes) : null, 0);
        _depth++;
        try
        {
            pass();
            if (_sums != 0)
                throw new InvalidOperationException(
                    $"a backward pass ended while the gradients of {_sums} tensors were still being added up");
        }
        catch (Exception) when ((_failure ?? Interlocked.Exchange(ref _elsewhere, null)) is { } cause)
        {
            ExceptionDispatchInfo.Throw(cause);
        }
        finally
        {
            _depth--;
            (KeepGraph, _failure, Pass, _sums) = (outerKeep, outerFailure, outerPass, outerSums);
            FreeReturned();
        }
    }
}
