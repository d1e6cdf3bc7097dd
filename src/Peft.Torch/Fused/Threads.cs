using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Peft.Torch.Fused;

/// <summary>Work shared among libtorch's own threads, so that its products and ours never compete for cores.</summary>
internal static unsafe partial class Threads
{
    private const string Library = "torch_cpu";

    /// <summary>Runs a body on every thread, or on this one alone where there is little to do. Each takes the next task
    /// from the same <see cref="Tasks"/> until none is left: who finishes early takes more.</summary>
    /// <param name="tasks">How many there are.</param>
    /// <param name="body">Runs on each thread.</param>
    /// <param name="alone">All of it costs less than waking another thread.</param>
    public static void Share(long tasks, Action<Tasks> body, bool alone = false)
    {
        var shared = new Tasks(tasks, body);
        var workers = alone ? 1 : Math.Min(tasks, torch.get_num_threads());
        if (workers <= 1)
        {
            if (tasks > 0)
                Gemm.OnThisThread(() => body(shared));
            return;
        }
        var handle = GCHandle.Alloc(shared);
        try
        {
            if (torch_parallel_for(0, workers, 1, &Run, (void*)GCHandle.ToIntPtr(handle)) != 0)
                throw new InvalidOperationException("libtorch could not start its threads");
        }
        finally
        {
            handle.Free();
        }
        shared.ThrowFailure();
    }

    // No exception may pass through native frames.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Run(long begin, long end, void* context)
    {
        var shared = (Tasks)GCHandle.FromIntPtr((nint)context).Target!;
        try
        {
            shared.Body(shared);
        }
        catch (Exception e)
        {
            shared.Fail(e);
        }
    }

    [LibraryImport(Library)]
    private static partial int torch_parallel_for(
        long begin, long end, long grain, delegate* unmanaged[Cdecl]<long, long, void*, void> body, void* context);
}

/// <summary>Numbers of tasks that threads take from, each once.</summary>
internal sealed class Tasks(long count, Action<Tasks> body)
{
    private long _next = -1;
    private Exception? _failure;

    public Action<Tasks> Body => body;

    /// <summary>Takes the next task; false when none is left.</summary>
    public bool Next(out long task)
    {
        task = Interlocked.Increment(ref _next);
        return task < count;
    }

    /// <summary>Keeps what went wrong and lets the others end.</summary>
    public void Fail(Exception error)
    {
        _failure = error;
        Interlocked.Exchange(ref _next, count);
    }

    public void ThrowFailure()
    {
        if (_failure is not null)
            ExceptionDispatchInfo.Throw(_failure);
    }
}
