using System.Diagnostics;
using System.Runtime.InteropServices;
using Peft.Formats;

namespace Peft.Distributed.Nccl;

/// <summary>Ranks with a GPU each: sums and broadcasts between their memories, without a way through the
/// host's.</summary>
/// <remarks>
/// What is asked is queued behind the work of the device's default stream, where libtorch computes, and awaited, so
/// that a rank that does not come is noticed. What the host decides (who is there, how it ends) goes by MPI.
/// </remarks>
public sealed unsafe class NcclCommunicator : ICommunicator
{
    /// <summary>The variable that names another library of NCCL.</summary>
    public const string Variable = "PEFT_NCCL";

    private static readonly TimeSpan Spin = TimeSpan.FromMilliseconds(20);

    private readonly NcclLibrary _nccl;
    private readonly ICommunicator _host;
    private readonly TimeSpan _timeout;
    private readonly nint _communicator;
    private bool _isEnded;

    private NcclCommunicator(NcclLibrary nccl, ICommunicator host, nint communicator, TimeSpan timeout) =>
        (_nccl, _host, _communicator, _timeout) = (nccl, host, communicator, timeout);

    /// <inheritdoc/>
    public int Rank => _host.Rank;

    /// <inheritdoc/>
    public int Size => _host.Size;

    private static string? Named =>
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } file ? file : null;

    /// <summary>Joins the devices of all ranks; NCCL's id goes to them by the host's ranks.</summary>
    /// <param name="host">All ranks.</param>
    /// <param name="device">Number of this rank's device.</param>
    /// <param name="timeout">How long a rank may keep the others waiting.</param>
    /// <exception cref="AgreedException">NCCL is missing on a rank, or failed there.</exception>
    public static NcclCommunicator Join(ICommunicator host, int device, TimeSpan timeout) =>
        Join(host, device, timeout, () => NcclLibrary.Open(Named));

    internal static NcclCommunicator Join(
        ICommunicator host, int device, TimeSpan timeout, Func<NcclLibrary> open)
    {
        var (nccl, id) = host.Together(
            () =>
            {
                var opened = open();
                opened.Use(device);
                return (opened, host.IsFirst() ? opened.NewId() : default);
            },
            Describe);
        var bytes = host.BytesOf(MemoryMarshal.AsBytes(new ReadOnlySpan<NcclId>(ref id)).ToArray(), 0);
        var first = MemoryMarshal.Read<NcclId>(bytes);
        return host.Together(
            () => new NcclCommunicator(nccl, host, nccl.Join(host.Size, first, host.Rank, timeout), timeout), Describe);
    }

    /// <summary>The NCCL that can be opened here, for <c>peft doctor</c>; null where there is none.</summary>
    public static string? Found()
    {
        try
        {
            return NcclLibrary.Open(Named).Version;
        }
        catch (Exception error) when (error is UserException or CommunicationException)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public void AllReduce(nint values, long count, ElementType type)
    {
        _nccl.AllReduce(
            values, count, type == ElementType.Float32 ? NcclLibrary.Float32 : NcclLibrary.Float64, _communicator);
        Await();
    }

    /// <inheritdoc/>
    public void Broadcast(nint bytes, long count, int root)
    {
        _nccl.Broadcast(bytes, count, root, _communicator);
        Await();
    }

    /// <inheritdoc/>
    public void Barrier()
    {
        Await();
        _host.Barrier();
    }

    /// <inheritdoc/>
    public void Abort(int exitCode)
    {
        End(isAborted: true);
        _host.Abort(exitCode);
    }

    /// <inheritdoc/>
    public void Dispose() => End(isAborted: false);

    private static (string Text, int ExitCode) Describe(Exception error) =>
        (error.Message, error is UserException ? 2 : 1);

    private void End(bool isAborted)
    {
        if (_isEnded)
            return;
        _isEnded = true;
        _nccl.End(_communicator, isAborted);
    }

    private void Await()
    {
        var started = Stopwatch.GetTimestamp();
        while (!_nccl.IsDone())
        {
            _nccl.CheckAsync(_communicator);
            var waited = Stopwatch.GetElapsedTime(started);
            if (waited > _timeout)
            {
                // Its kernel would keep the device from ever ending.
                End(isAborted: true);
                throw new CommunicationException(Fault.Text(
                    "ranks", $"after {_timeout.TotalSeconds:0} seconds a sum between GPUs was not done", null,
                    "look at what the other ranks were doing; where a step really takes so long, raise "
                        + "training.ddp_timeout"));
            }
            if (waited < Spin)
                Thread.Yield();
            else
                Thread.Sleep(1);
        }
        _nccl.CheckAsync(_communicator);
    }
}
