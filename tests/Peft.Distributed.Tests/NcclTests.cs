using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Peft.Distributed.Nccl;
using Peft.Formats;

namespace Peft.Distributed.Tests;

/// <summary>The verbs on GPUs, with a library that records what it is asked for.</summary>
public sealed unsafe class NcclTests
{
    private static readonly TimeSpan Long = TimeSpan.FromMinutes(1);

    public NcclTests() => Library.Begin();

    [Fact]
    public void A_rank_takes_its_device_and_joins_by_the_id_of_rank_0()
    {
        var host = new Host(1, 2) { Sent = [.. Enumerable.Range(0, 128).Select(i => (byte)i)] };
        using (NcclCommunicator.Join(host, 3, Long, Library.Open))
            Assert.Equal(
                [
                    "cuInit 0", "cuDevicePrimaryCtxRetain 3", "cuCtxSetCurrent 77",
                    "cuCtxSetCurrent 77", "ncclCommInitRank 2 0,1,126,127 1", // by a thread of its own
                ],
                Library.Calls);
        Assert.Equal("ncclCommDestroy 88", Library.Calls[^1]);
    }

    [Fact]
    public void Rank_0_makes_the_id_that_the_host_sends()
    {
        var host = new Host(0, 2);
        using var ranks = NcclCommunicator.Join(host, 0, Long, Library.Open);
        Assert.Contains("ncclGetUniqueId", Library.Calls);
        Assert.Equal("ncclCommInitRank 2 9,9,9,9 0", Library.Calls[^1]);
        Assert.Contains(host.Broadcasts, bytes => bytes.Length == 128 && bytes.All(one => one == 9));
    }

    [Fact]
    public void Sums_and_broadcasts_are_done_in_place_behind_the_default_stream_and_awaited()
    {
        using var ranks = NcclCommunicator.Join(new Host(1, 2), 0, Long, Library.Open);
        Library.Begin(turns: 3);
        ranks.AllReduce(0x1000, 5_000_000_000, ElementType.Float32);
        Assert.Equal("ncclAllReduce 1000 1000 5000000000 7 0 88 0", Library.Calls[0]);
        Assert.Equal(3, Library.Calls.Count(call => call == "cuStreamQuery 0"));
        Library.Begin();
        ranks.AllReduce(0x1000, 2, ElementType.Float64);
        ranks.Broadcast(0x2000, 7, 1);
        Assert.Equal("ncclAllReduce 1000 1000 2 8 0 88 0", Library.Calls[0]);
        Assert.Contains("ncclBroadcast 2000 2000 7 1 1 88 0", Library.Calls);
    }

    [Fact]
    public void A_barrier_and_an_abort_go_by_the_host()
    {
        var host = new Host(1, 2);
        var ranks = NcclCommunicator.Join(host, 0, Long, Library.Open);
        ranks.Barrier();
        ranks.Abort(5);
        Assert.Equal(["barrier", "abort 5"], host.Verbs);
        Assert.Equal("ncclCommAbort 88", Library.Calls[^1]);
        ranks.Dispose();
        Assert.Equal("ncclCommAbort 88", Library.Calls[^1]); // ended once
    }

    [Fact]
    public void A_sum_that_is_never_done_ends_after_the_timeout()
    {
        using var ranks = NcclCommunicator.Join(new Host(1, 2), 0, TimeSpan.FromSeconds(1), Library.Open);
        Library.Begin(turns: int.MaxValue);
        var error = Assert.Throws<CommunicationException>(() => ranks.AllReduce(0x1000, 1, ElementType.Float32));
        Assert.Equal(
            "ranks: after 1 seconds a sum between GPUs was not done. Look at what the other ranks were doing; where a "
                + "step really takes so long, raise training.ddp_timeout.", error.Message);
        Assert.Equal("ncclCommAbort 88", Library.Calls[^1]);
    }

    [Fact]
    public void Devices_that_do_not_find_each_other_end_after_the_timeout()
    {
        using var found = new ManualResetEventSlim();
        Library.Begin(joins: found);
        var error = Assert.Throws<AgreedException>(() => NcclCommunicator.Join(
            new Host(0, 2), 0, TimeSpan.FromSeconds(1), Library.Open));
        found.Set();
        Assert.Equal(1, error.ExitCode);
        Assert.Contains(
            "ncclCommInitRank: after 1 seconds the ranks' GPUs had not found each other. Look at what NCCL says with "
                + "the variable NCCL_DEBUG=INFO: NCCL_SOCKET_IFNAME names the network between the machines, "
                + "training.ddp_timeout how long they may take.", error.Message);
    }

    [Fact]
    public void What_NCCL_and_the_driver_meet_is_told_in_their_words()
    {
        using var ranks = NcclCommunicator.Join(new Host(1, 2), 0, Long, Library.Open);
        Library.Begin(turns: 2, met: 6);
        var error = Assert.Throws<CommunicationException>(() => ranks.AllReduce(0x1000, 1, ElementType.Float32));
        Assert.Equal(
            "NCCL: words of error 6. Look at what NCCL says with the variable NCCL_DEBUG=INFO.", error.Message);
        Library.Begin(driver: 700);
        error = Assert.Throws<CommunicationException>(() => ranks.AllReduce(0x1000, 1, ElementType.Float32));
        Assert.Equal("cuStreamQuery: error 700 of the GPU's driver. Look at what nvidia-smi says.", error.Message);
    }

    [Fact]
    public void Without_the_library_ranks_on_GPUs_are_refused_by_all()
    {
        var missing = Assert.Throws<UserException>(() => NcclLibrary.Open("libnone.so.2"));
        Assert.Equal(
            "--device: libnone.so.2 cannot be opened, without which ranks on GPUs cannot sum; expected NCCL 2 (Debian, "
                + "Ubuntu: apt-get install libnccl2; or set PEFT_NCCL to the libnccl.so.2 of another place). Install "
                + "it, or give --device cpu.", missing.Message);
        var agreed = Assert.Throws<AgreedException>(() => NcclCommunicator.Join(
            new Host(0, 2), 0, Long, () => NcclLibrary.Open("libnone.so.2")));
        Assert.Equal(2, agreed.ExitCode);
        Assert.Contains("libnone.so.2 cannot be opened", agreed.Message);
    }

    [Theory]
    [InlineData(2804, "2.8.4")]
    [InlineData(22105, "2.21.5")]
    public void A_version_is_told_in_its_parts(int number, string version)
    {
        Library.Begin(version: number);
        Assert.Equal(version, Library.Open().Version);
    }

    // The ranks as seen by the host: one of several, the others silent.
    private sealed class Host(int rank, int size) : ICommunicator
    {
        public List<string> Verbs { get; } = [];

        public List<byte[]> Broadcasts { get; } = [];

        /// <summary>What another rank sends.</summary>
        public byte[] Sent { get; init; } = new byte[128];

        public int Rank => rank;

        public int Size => size;

        public void AllReduce(nint values, long count, ElementType type)
        {
        }

        public void Broadcast(nint bytes, long count, int root)
        {
            var own = new Span<byte>((void*)bytes, (int)count);
            if (root == rank)
                Broadcasts.Add(own.ToArray());
            else if (count == sizeof(long))
                BitConverter.TryWriteBytes(own, root == 0 ? (long)Sent.Length : 0);
            else
                Sent.CopyTo(own);
        }

        public void Barrier() => Verbs.Add("barrier");

        public void Abort(int exitCode) => Verbs.Add($"abort {exitCode}");

        public void Dispose()
        {
        }
    }

    // The functions of both libraries; each call is written down.
    private static class Library
    {
        private static int _turns;
        private static int _met;
        private static int _driver;
        private static int _version;
        private static ManualResetEventSlim? _joins;

        public static List<string> Calls { get; } = [];

        /// <summary>Forgets the calls, and sets what the functions answer.</summary>
        /// <param name="turns">How often the stream is asked until it is done.</param>
        /// <param name="met">What NCCL met meanwhile.</param>
        /// <param name="driver">The driver's error.</param>
        /// <param name="version">NCCL's version.</param>
        /// <param name="joins">What joining waits for; null: nothing.</param>
        public static void Begin(
            int turns = 1, int met = 0, int driver = 0, int version = 22105, ManualResetEventSlim? joins = null)
        {
            Calls.Clear();
            (_turns, _met, _driver, _version, _joins) = (turns, met, driver, version, joins);
        }

        public static NcclLibrary Open() => new(name => name switch
        {
            "cuInit" => (nint)(delegate* unmanaged<uint, int>)&Init,
            "cuDevicePrimaryCtxRetain" => (nint)(delegate* unmanaged<nint*, int, int>)&Retain,
            "cuCtxSetCurrent" => (nint)(delegate* unmanaged<nint, int>)&SetCurrent,
            "cuStreamQuery" => (nint)(delegate* unmanaged<nint, int>)&Query,
            "ncclGetVersion" => (nint)(delegate* unmanaged<int*, int>)&GetVersion,
            "ncclGetUniqueId" => (nint)(delegate* unmanaged<byte*, int>)&GetUniqueId,
            "ncclCommInitRank" => (nint)(delegate* unmanaged<nint*, int, NcclId, int, int>)&InitRank,
            "ncclAllReduce" => (nint)(delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int>)&AllReduce,
            "ncclBroadcast" => (nint)(delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int>)&Broadcast,
            "ncclCommGetAsyncError" => (nint)(delegate* unmanaged<nint, int*, int>)&GetAsyncError,
            "ncclGetErrorString" => (nint)(delegate* unmanaged<int, nint>)&GetErrorString,
            "ncclCommDestroy" => (nint)(delegate* unmanaged<nint, int>)&Destroy,
            "ncclCommAbort" => (nint)(delegate* unmanaged<nint, int>)&Abort,
            _ => throw new InvalidOperationException(name),
        });

        private static int Did(string call)
        {
            Calls.Add(call);
            return 0;
        }

        [UnmanagedCallersOnly]
        private static int Init(uint flags) => Did($"cuInit {flags}");

        [UnmanagedCallersOnly]
        private static int Retain(nint* context, int device)
        {
            *context = 77;
            return Did($"cuDevicePrimaryCtxRetain {device}");
        }

        [UnmanagedCallersOnly]
        private static int SetCurrent(nint context) => Did($"cuCtxSetCurrent {context}");

        [UnmanagedCallersOnly]
        private static int Query(nint stream)
        {
            Did($"cuStreamQuery {stream}");
            return _driver != 0 ? _driver : --_turns > 0 ? NcclLibrary.NotReady : 0;
        }

        [UnmanagedCallersOnly]
        private static int GetVersion(int* version)
        {
            *version = _version;
            return Did("ncclGetVersion");
        }

        [UnmanagedCallersOnly]
        private static int GetUniqueId(byte* id)
        {
            Unsafe.InitBlock(id, 9, 128);
            return Did("ncclGetUniqueId");
        }

        [UnmanagedCallersOnly]
        private static int InitRank(nint* communicator, int size, NcclId id, int rank)
        {
            *communicator = 88;
            _joins?.Wait();
            return Did($"ncclCommInitRank {size} {id.Bytes[0]},{id.Bytes[1]},{id.Bytes[126]},{id.Bytes[127]} {rank}");
        }

        [UnmanagedCallersOnly]
        private static int AllReduce(
            nint from, nint to, nuint count, int type, int op, nint communicator, nint stream) =>
            Did($"ncclAllReduce {from:x} {to:x} {count} {type} {op} {communicator} {stream}");

        [UnmanagedCallersOnly]
        private static int Broadcast(
            nint from, nint to, nuint count, int type, int root, nint communicator, nint stream) =>
            Did($"ncclBroadcast {from:x} {to:x} {count} {type} {root} {communicator} {stream}");

        [UnmanagedCallersOnly]
        private static int GetAsyncError(nint communicator, int* met)
        {
            *met = _met;
            return 0;
        }

        [UnmanagedCallersOnly]
        private static nint GetErrorString(int code) => Marshal.StringToCoTaskMemUTF8($"words of error {code}");

        [UnmanagedCallersOnly]
        private static int Destroy(nint communicator) => Did($"ncclCommDestroy {communicator}");

        [UnmanagedCallersOnly]
        private static int Abort(nint communicator) => Did($"ncclCommAbort {communicator}");
    }
}
