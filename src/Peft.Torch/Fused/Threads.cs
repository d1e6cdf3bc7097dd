using System.Numerics;
using System.Numerics.Tensors;
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

/// <summary>Rows in as many parts as there are threads: always the same parts for the same number of threads, since
/// sums over rows must not depend on who came first.</summary>
/// <param name="rows">How many there are.</param>
/// <param name="chunk">Fewer are not worth a thread.</param>
internal readonly unsafe struct RowShares(long rows, long chunk)
{
    /// <summary>How many parts there are.</summary>
    public long Count { get; } = Math.Clamp((rows + chunk - 1) / chunk, 1, torch.get_num_threads());

    /// <summary>Body(number of the part, its first row, the row behind it), each part on a thread.</summary>
    public void Run(Action<long, long, long> body)
    {
        var (all, each) = (rows, (rows + Count - 1) / Count);
        Threads.Share(Count, tasks =>
        {
            while (tasks.Next(out var share))
                body(share, Math.Min(all, share * each), Math.Min(all, (share + 1) * each));
        });
    }

    /// <summary>Adds up what each part made: count numbers, one part's behind the other's. Nothing where no one asks
    /// for it.</summary>
    public void Sum<W>(W* parts, long count, W* target)
        where W : unmanaged, IAdditionOperators<W, W, W>, IAdditiveIdentity<W, W>
    {
        if (target == null)
            return;
        var sum = new Span<W>(target, checked((int)count));
        new Span<W>(parts, sum.Length).CopyTo(sum);
        for (long share = 1; share < Count; share++)
            TensorPrimitives.Add(sum, new ReadOnlySpan<W>(parts + share * count, sum.Length), sum);
    }
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
