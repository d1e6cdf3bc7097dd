using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Peft.Formats;

namespace Peft.Distributed.Mpi;

/// <summary>All processes that a launcher of MPI started.</summary>
/// <remarks>
/// No call blocks, so that a rank that does not come, or stops on the way, is noticed after <see cref="Timeout"/> and
/// named. Before each verb the ranks meet, and who waits there leaves the processor to others. Used from one thread.
/// </remarks>
public sealed unsafe partial class MpiCommunicator : ICommunicator
{
    /// <summary>The variable that names another library of MPI.</summary>
    public const string Variable = "PEFT_MPI";

    private const int LargestCall = 1 << 28; // elements: a count is an int
    private const int HereTag = 7;
    private static readonly TimeSpan Spin = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan AbortAtMost = TimeSpan.FromSeconds(2);

    private readonly MpiLibrary _mpi;
    private readonly delegate* unmanaged<nint, nint, int, nint, nint, nint, nint*, int> _allReduce;
    private readonly delegate* unmanaged<nint, int, nint, int, nint, nint*, int> _broadcast;
    private readonly delegate* unmanaged<nint, nint*, int> _barrier;
    private readonly delegate* unmanaged<nint*, int*, nint, int> _test;
    private string[] _hosts = [];

    private MpiCommunicator(MpiLibrary mpi, Launch launch)
    {
        _mpi = mpi;
        _allReduce = (delegate* unmanaged<nint, nint, int, nint, nint, nint, nint*, int>)
            mpi.Function("MPI_Iallreduce");
        _broadcast = (delegate* unmanaged<nint, int, nint, int, nint, nint*, int>)mpi.Function("MPI_Ibcast");
        _barrier = (delegate* unmanaged<nint, nint*, int>)mpi.Function("MPI_Ibarrier");
        _test = (delegate* unmanaged<nint*, int*, nint, int>)mpi.Function("MPI_Test");
        var start = (delegate* unmanaged<nint, nint, int>)mpi.Function("MPI_Init");
        Check(start(0, 0), "MPI_Init");
        _ = ((delegate* unmanaged<nint, nint, int>)mpi.Function("MPI_Comm_set_errhandler"))(mpi.World, mpi.Errors);
        Rank = Number("MPI_Comm_rank");
        Size = Number("MPI_Comm_size");
        if (Size != launch.Size)
            throw UserException.At(
                mpi.File, $"{mpi.Version} finds {Words.Count(Size, "rank")}",
                $"the {launch.Size} that {launch.Launcher} started",
                $"start the program by that MPI's own mpirun, or set {Variable} to the library of the launcher's MPI");
        _hosts = this.Texts(Environment.MachineName);
    }

    /// <inheritdoc/>
    public int Rank { get; }

    /// <inheritdoc/>
    public int Size { get; }

    /// <summary>Which MPI it is, for reports.</summary>
    public string Engine => $"{_mpi.Version}, {_mpi.File}";

    /// <summary>Whether another rank had noticed before that somebody does not come, and will tell who.</summary>
    public bool IsLate { get; private set; }

    /// <summary>How long a rank may keep the others waiting.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromMinutes(30);

    /// <summary>Joins the ranks that were launched.</summary>
    /// <param name="launch">What the launcher said.</param>
    /// <exception cref="UserException">The launcher's MPI is not there, or is another one.</exception>
    public static MpiCommunicator Join(Launch launch)
    {
        var named = Environment.GetEnvironmentVariable(Variable);
        var files = string.IsNullOrEmpty(named) ? MpiLibrary.FilesOf(launch.Family) : [named];
        var mpi = MpiLibrary.Open(files, out var words);
        return new MpiCommunicator(mpi ?? throw Missing(launch, words), launch);
    }

    /// <summary>The MPIs that can be opened here, for <c>peft doctor</c>; opened, not started.</summary>
    public static IReadOnlyList<string> Found() =>
        [.. new[] { MpiFamily.OpenMpi, MpiFamily.Mpich }
            .Select(family => MpiLibrary.Open(MpiLibrary.FilesOf(family), out _)).OfType<MpiLibrary>()
            .Select(mpi => $"{mpi.Version}, {mpi.File}").Distinct()];

    /// <inheritdoc/>
    public void AllReduce(nint values, long count, ElementType type)
    {
        Meet();
        var (number, bytes) = type == ElementType.Float32 ? (_mpi.Float, 4) : (_mpi.Double, 8);
        for (var at = 0L; at < count; at += LargestCall)
        {
            nint request = 0;
            Check(_allReduce(_mpi.InPlace, values + (nint)(at * bytes), (int)Math.Min(LargestCall, count - at), number,
                _mpi.Sum, _mpi.World, &request), "MPI_Iallreduce");
            Await(&request, sleeps: false);
        }
    }

    /// <inheritdoc/>
    public void Broadcast(nint bytes, long count, int root)
    {
        Meet();
        for (var at = 0L; at < count; at += LargestCall)
        {
            nint request = 0;
            Check(_broadcast(bytes + (nint)at, (int)Math.Min(LargestCall, count - at), _mpi.Byte, root, _mpi.World,
                &request), "MPI_Ibcast");
            Await(&request, sleeps: false);
        }
    }

    /// <inheritdoc/>
    public void Barrier() => Meet();

    /// <inheritdoc/>
    public void Abort(int exitCode)
    {
        // Open MPI asks for the end by a signal that may be answered with a checkpoint, and waits until it can kill.
        new Thread(() =>
        {
            Thread.Sleep(AbortAtMost);
            _exit(exitCode);
        })
        { IsBackground = true }.Start();
        _ = ((delegate* unmanaged<nint, int, int>)_mpi.Function("MPI_Abort"))(_mpi.World, exitCode);
        Environment.Exit(exitCode);
    }

    /// <summary>Leaves; all ranks do.</summary>
    public void Dispose() => _ = ((delegate* unmanaged<int>)_mpi.Function("MPI_Finalize"))();

    private static UserException Missing(Launch launch, string words) => UserException.At(
        launch.Launcher, $"started {Words.Count(launch.Size, "rank")}, and its MPI cannot be opened here ({words})",
        launch.Family == MpiFamily.OpenMpi ? "libmpi.so.40" : "libmpich.so.12 or libmpi.so.12",
        (launch.Family == MpiFamily.OpenMpi ? "install Open MPI (Debian: apt-get install openmpi-bin)"
            : "install MPICH (Debian: apt-get install mpich)") + $", or set {Variable} to the library's path");

    private int Number(string function)
    {
        var number = 0;
        Check(((delegate* unmanaged<nint, int*, int>)_mpi.Function(function))(_mpi.World, &number), function);
        return number;
    }

    // Waits until every rank has come.
    private void Meet()
    {
        nint request = 0;
        Check(_barrier(_mpi.World, &request), "MPI_Ibarrier");
        Await(&request, sleeps: true);
    }

    private void Await(nint* request, bool sleeps)
    {
        if (!Finish(request, Timeout, sleeps))
            throw new CommunicationException(Absent());
    }

    // Data moves on only while it is asked for: who waits for that does not sleep.
    private bool Finish(nint* request, TimeSpan most, bool sleeps)
    {
        var started = Stopwatch.GetTimestamp();
        var done = 0;
        for (var turn = 0; ; turn++)
        {
            Check(_test(request, &done, _mpi.NoStatus), "MPI_Test");
            if (done != 0)
                return true;
            if (turn < 100)
                continue;
            var waited = Stopwatch.GetElapsedTime(started);
            if (waited > most)
                return false;
            if (waited < Spin || !sleeps)
                Thread.Yield();
            else
                Thread.Sleep(1);
        }
    }

    // Each rank that waits reports to ranks 0 and 1, which then know who does not wait: one of the two does.
    private string Absent()
    {
        var send = (delegate* unmanaged<nint, int, nint, int, int, nint, nint*, int>)_mpi.Function("MPI_Isend");
        var receive = (delegate* unmanaged<nint, int, nint, int, int, nint, nint*, int>)_mpi.Function("MPI_Irecv");
        // Never freed: the process ends, and a message may still be on its way.
        var marks = (byte*)NativeMemory.AllocZeroed((nuint)Size + 1);
        var requests = (nint*)NativeMemory.AllocZeroed((nuint)(Size + 2) * (nuint)sizeof(nint));
        for (var collector = 0; collector < Math.Min(2, Size); collector++)
        {
            if (collector != Rank)
                _ = send(
                    (nint)(marks + Size), 1, _mpi.Byte, collector, HereTag, _mpi.World, requests + Size + collector);
        }
        if (Rank > 1)
        {
            IsLate = true;
            Thread.Sleep(2 * Grace);
            return Waited("another rank did not come");
        }
        var absent = new List<int>();
        for (var rank = 0; rank < Size; rank++)
        {
            if (rank != Rank)
                _ = receive((nint)(marks + rank), 1, _mpi.Byte, rank, HereTag, _mpi.World, requests + rank);
        }
        var until = Stopwatch.GetTimestamp() + (long)(Grace.TotalSeconds * Stopwatch.Frequency);
        for (var rank = 0; rank < Size; rank++)
        {
            var left = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), until);
            if (rank != Rank && !Finish(requests + rank, left > TimeSpan.Zero ? left : TimeSpan.Zero, sleeps: true))
                absent.Add(rank);
        }
        IsLate = absent.Count == 0;
        // Rank 0 speaks where it can.
        if (Rank == 1 && !absent.Contains(0))
            Thread.Sleep(2 * Grace);
        return Waited(absent.Count == 0
            ? "the ranks do not wait for the same thing"
            : $"{Communication.Named(absent, _hosts)} did not come");
    }

    private string Waited(string why) => Fault.Text(
        "ranks", $"after {Timeout.TotalSeconds:0} seconds {why}", null,
        "look at what that rank was doing; where a step really takes so long, raise training.ddp_timeout");

    [LibraryImport("libc")]
    private static partial void _exit(int code);

    private void Check(int code, string function)
    {
        const int Longest = 512;
        if (code == 0)
            return;
        var text = new byte[Longest];
        var length = 0;
        fixed (byte* first = text)
            _ = ((delegate* unmanaged<int, byte*, int*, int>)_mpi.Function("MPI_Error_string"))(code, first, &length);
        throw new CommunicationException(Fault.Text(
            function, Encoding.UTF8.GetString(text, 0, Math.Clamp(length, 0, Longest)), null,
            "look at what mpirun says above: ports, shared memory and host names are its business"));
    }
}
