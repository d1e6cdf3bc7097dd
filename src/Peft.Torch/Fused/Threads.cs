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

    private static readonly Neighbours Beside = new(Wake);

    [ThreadStatic]
    private static Rehearsal? _rehearsal;

    [ThreadStatic]
    private static Crew? _crew;

    /// <summary>How many threads work is cut for.</summary>
    public static int Count => Rehearsal?.Threads ?? torch.get_num_threads();

    /// <summary>While there is one, what the calling thread shares out runs on it alone and is timed. For
    /// benchmarks.</summary>
    public static Rehearsal? Rehearsal
    {
        get => _rehearsal;
        set => _rehearsal = value;
    }

    /// <summary>Runs a body on every thread, or on this one alone where there is little to do. Each takes the next task
    /// from the same <see cref="Tasks"/> until none is left: who finishes early takes more.</summary>
    /// <param name="tasks">How many there are.</param>
    /// <param name="body">Runs on each thread.</param>
    /// <param name="alone">All of it costs less than waking another thread.</param>
    /// <param name="origin">Whose work it is, where the body only passes it on.</param>
    public static void Share(long tasks, Action<Tasks> body, bool alone = false, Delegate? origin = null)
    {
        var workers = alone ? 1 : Math.Min(tasks, Count);
        if (workers > 1 && Rehearsal is { } rehearsal)
        {
            rehearsal.Run(tasks, (int)workers, body, origin ?? body);
            return;
        }
        var shared = new Tasks(tasks, body);
        if (workers <= 1)
        {
            if (tasks > 0)
                Gemm.OnThisThread(() => body(shared));
            return;
        }
        if (_crew is { } crew)
        {
            // What this thread's own part shares out in turn is done where it is met, as on the others.
            _crew = null;
            crew.Share(shared);
            _crew = crew;
        }
        else
            OnThreads(workers, &Run, shared);
        shared.ThrowFailure();
    }

    /// <summary>Runs a body on this thread while the others stay beside it: what it shares out they take up at once,
    /// where <see cref="Share"/> alone has them wait in libtorch between one work and the next. For many short works in
    /// a row; libtorch's own operations run on one thread in it.</summary>
    public static void Together(Action body)
    {
        var count = Count;
        // More threads than cores would take them from each other while they wait.
        var hasCores = count > 1 && count <= Environment.ProcessorCount;
        if (!hasCores || Rehearsal is not null || _crew is not null)
        {
            body();
            return;
        }
        var crew = new Crew(body);
        OnThreads(count, &Join, crew);
        crew.ThrowFailure();
    }

    // The calling thread's own, with nothing to do.
    private static void Wake() => OnThreads(2, &Run, new Tasks(0, _ => { }));

    private static void OnThreads(
        long count, delegate* unmanaged[Cdecl]<long, long, void*, void> body, object context)
    {
        if (TorchRuntime.WatchesNeighbours)
            Beside.Look();
        var handle = GCHandle.Alloc(context);
        try
        {
            if (torch_parallel_for(0, count, 1, body, (void*)GCHandle.ToIntPtr(handle)) != 0)
                throw new InvalidOperationException("libtorch could not start its threads");
        }
        finally
        {
            handle.Free();
        }
    }

    // No exception may pass through native frames.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Run(long begin, long end, void* context) =>
        ((Tasks)GCHandle.FromIntPtr((nint)context).Target!).Run();

    // The thread that calls has the first part.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Join(long begin, long end, void* context)
    {
        var crew = (Crew)GCHandle.FromIntPtr((nint)context).Target!;
        if (begin > 0)
        {
            crew.Follow();
            return;
        }
        _crew = crew;
        crew.Lead();
        _crew = null;
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
    public long Count { get; } = Math.Clamp((rows + chunk - 1) / chunk, 1, Threads.Count);

    /// <summary>Body(number of the part, its first row, the row behind it), each part on a thread.</summary>
    public void Run(Action<long, long, long> body)
    {
        var (all, each) = (rows, (rows + Count - 1) / Count);
        Threads.Share(Count, tasks =>
        {
            while (tasks.Next(out var share))
                body(share, Math.Min(all, share * each), Math.Min(all, (share + 1) * each));
        }, origin: body);
    }

    /// <summary>Adds up what each part made: count numbers, one part's behind the other's. Nothing where no one asks
    /// for it.</summary>
    public void Sum<W>(W* parts, long count, W* target)
        where W : unmanaged, IAdditionOperators<W, W, W>, IAdditiveIdentity<W, W>
    {
        const long Most = 1 << 14; // numbers a task: fewer cost more to share out than they take
        if (target == null)
            return;
        var shares = Count;
        Threads.Share((count + Most - 1) / Most, tasks =>
        {
            while (tasks.Next(out var task))
            {
                var (from, length) = (task * Most, (int)Math.Min(Most, count - task * Most));
                var sum = new Span<W>(target + from, length);
                new Span<W>(parts + from, length).CopyTo(sum);
                for (long share = 1; share < shares; share++)
                    TensorPrimitives.Add(sum, new ReadOnlySpan<W>(parts + share * count + from, length), sum);
            }
        });
    }
}

/// <summary>Numbers of tasks that threads take from, each once.</summary>
/// <param name="count">How many there are.</param>
/// <param name="body">What each thread runs.</param>
/// <param name="taking">Runs before a task is taken; null in real work.</param>
internal sealed class Tasks(long count, Action<Tasks> body, Action? taking = null)
{
    private long _next = -1;
    private Exception? _failure;

    /// <summary>Takes the next task; false when none is left.</summary>
    public bool Next(out long task)
    {
        taking?.Invoke();
        task = Interlocked.Increment(ref _next);
        return task < count;
    }

    /// <summary>Runs the body on this thread; what goes wrong is kept, and the others end.</summary>
    public void Run()
    {
        try
        {
            body(this);
        }
        catch (Exception e)
        {
            _failure = e;
            Interlocked.Exchange(ref _next, count);
        }
    }

    public void ThrowFailure()
    {
        if (_failure is not null)
            ExceptionDispatchInfo.Throw(_failure);
    }
}

/// <summary>Threads that one of them leads through many short works: the others turn in place for the next.</summary>
/// <param name="body">What the leading thread runs.</param>
internal sealed class Crew(Action body)
{
    private const int Turns = 4096; // then others that want the core have it first

    private readonly Tasks _led = new(1, _ => body());
    private Tasks? _work;
    private int _inside;
    private bool _isOver;

    /// <summary>Runs the body, then lets the others go.</summary>
    public void Lead()
    {
        _led.Run();
        Volatile.Write(ref _isOver, true);
    }

    /// <summary>Does a work on all threads that are here; the leading one waits for the others.</summary>
    public void Share(Tasks work)
    {
        Volatile.Write(ref _work, work);
        work.Run();
        // From here on no one begins it: who comes after this reads that there is none.
        Interlocked.Exchange(ref _work, null);
        for (var turn = 0; Volatile.Read(ref _inside) > 0; turn++)
            Turn(turn);
    }

    /// <summary>Takes part in each work until the body is over.</summary>
    public void Follow()
    {
        Tasks? last = null;
        for (var turn = 0; !Volatile.Read(ref _isOver); turn++)
        {
            var work = Volatile.Read(ref _work);
            if (work is null || work == last)
            {
                Turn(turn);
                continue;
            }
            Interlocked.Increment(ref _inside);
            if (Volatile.Read(ref _work) == work)
                work.Run();
            Interlocked.Decrement(ref _inside);
            (last, turn) = (work, 0);
        }
    }

    /// <summary>Throws what the body threw.</summary>
    public void ThrowFailure() => _led.ThrowFailure();

    private static void Turn(int turn)
    {
        if (turn < Turns)
            Thread.SpinWait(1);
        else
            Thread.Yield();
    }
}

/// <summary>How a computation would go on more threads than this machine has: its work is cut for so many, done by one
/// thread task by task, and each task is timed; then tasks are dealt out as <see cref="Threads.Share"/> does, each to
/// the thread that is free first. Times are the thread's own (processor time), so that a neighbour does not count. What
/// it leaves out is what threads take from each other: memory, caches, clock; and waking them.</summary>
internal sealed class Rehearsal(int threads)
{
    private readonly List<double> _marks = [];
    private readonly Dictionary<string, SharedWork> _shared = [];
    private readonly Dictionary<string, double> _between = [];
    private (string Name, double At) _last = ("the start", Libc.ThreadSeconds());

    /// <summary>Threads that work is cut for.</summary>
    public int Threads => threads;

    /// <summary>By whose it was.</summary>
    public IReadOnlyDictionary<string, SharedWork> Shared => _shared;

    /// <summary>Seconds from one shared work to the next, by whose both were.</summary>
    public IReadOnlyDictionary<string, double> Between => _between;

    /// <summary>Ends the timing.</summary>
    public void Stop() => AddBetween("the end", Libc.ThreadSeconds());

    internal void Run(long count, int workers, Action<Tasks> body, Delegate origin)
    {
        _marks.Clear();
        Mark();
        var tasks = new Tasks(count, body, Mark);
        Gemm.OnThisThread(() => body(tasks));
        Mark();
        var name = NameOf(origin);
        var sum = _shared.GetValueOrDefault(name);
        _shared[name] = new(sum.Times + 1, sum.Seconds + _marks[^1] - _marks[0], sum.Dealt + Dealt(_marks, workers));
        AddBetween(name, _marks[0]);
        _last = (name, Libc.ThreadSeconds());
    }

    private void Mark() => _marks.Add(Libc.ThreadSeconds());

    /// <summary>Seconds until the last thread is done: the next task goes to the thread that is free first.</summary>
    /// <param name="marks">When the one thread started, took each task, found none left, and was done: from the first
    /// to the second mark each thread prepares, from the last but one to the last it clears up.</param>
    /// <param name="workers">Threads.</param>
    internal static double Dealt(IReadOnlyList<double> marks, int workers)
    {
        var free = new PriorityQueue<int, double>();
        for (var worker = 0; worker < workers; worker++)
            free.Enqueue(worker, marks[1] - marks[0]);
        var last = 0.0;
        for (var i = 1; i + 2 < marks.Count; i++)
        {
            free.TryDequeue(out var worker, out var at);
            at += marks[i + 1] - marks[i];
            last = Math.Max(last, at);
            free.Enqueue(worker, at);
        }
        return last + marks[^1] - marks[^2];
    }

    private void AddBetween(string next, double now)
    {
        var name = $"{_last.Name} to {next}";
        _between[name] = _between.GetValueOrDefault(name) + now - _last.At;
    }

    // The class that a lambda expression stands in, without its type parameters.
    private static string NameOf(Delegate origin)
    {
        var type = origin.Method.DeclaringType!;
        while (type.DeclaringType is { } outer)
            type = outer;
        return type.Name.Split('`')[0];
    }

    /// <summary>Work of one kind.</summary>
    /// <param name="Times">How often it was shared out.</param>
    /// <param name="Seconds">It all, on one thread.</param>
    /// <param name="Dealt">Seconds of it dealt out to the threads.</param>
    internal readonly record struct SharedWork(int Times, double Seconds, double Dealt);
}
