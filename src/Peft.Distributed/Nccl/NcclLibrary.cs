using System.Runtime.InteropServices;
using Peft.Formats;

namespace Peft.Distributed.Nccl;

/// <summary>The functions of NCCL, and those of the driver that say on which device and when.</summary>
/// <remarks>
/// Source: NCCL 2 user guide, API (types.h: ncclUint8 1, ncclFloat32 7, ncclFloat64 8, ncclSum 0; ncclUniqueId is 128
/// bytes, passed by value); CUDA driver API (cuda.h). The driver's functions and not the runtime's: of that each
/// library may have a copy.
/// </remarks>
internal sealed unsafe class NcclLibrary
{
    public const int Byte = 1;
    public const int Float32 = 7;
    public const int Float64 = 8;
    public const int Sum = 0;
    public const int NotReady = 600; // CUDA_ERROR_NOT_READY
    public const int InProgress = 7; // ncclInProgress

    private readonly Func<string, nint> _function;
    private nint _context;

    /// <summary>The functions by their addresses.</summary>
    /// <param name="function">Gives the address of a function of libnccl.so.2 or libcuda.so.1.</param>
    public NcclLibrary(Func<string, nint> function) => _function = function;

    /// <summary>NCCL's version, as 2.21.5.</summary>
    public string Version
    {
        get
        {
            var number = 0;
            Check(((delegate* unmanaged<int*, int>)_function("ncclGetVersion"))(&number), "ncclGetVersion");
            // Before 2.9 a version had one digit for each part.
            return number < 10_000 ? $"{number / 1000}.{number / 100 % 10}.{number % 100}"
                : $"{number / 10_000}.{number / 100 % 100}.{number % 100}";
        }
    }

    /// <summary>Opens both libraries.</summary>
    /// <param name="named">A file to open instead of libnccl.so.2; null: none.</param>
    /// <exception cref="UserException">One of them is not there.</exception>
    public static NcclLibrary Open(string? named)
    {
        var nccl = Load(named ?? "libnccl.so.2", "NCCL 2 (Debian, Ubuntu: apt-get install libnccl2; or set "
            + $"{NcclCommunicator.Variable} to the libnccl.so.2 of another place)");
        var driver = Load("libcuda.so.1", "the driver of the GPU");
        return new(name => NativeLibrary.TryGetExport(name.StartsWith("nccl", StringComparison.Ordinal) ? nccl : driver,
            name, out var address) ? address
            : throw UserException.At(named ?? "libnccl.so.2", $"has no {name}", "NCCL 2.4 or later"));
    }

    public NcclId NewId()
    {
        NcclId id;
        Check(((delegate* unmanaged<NcclId*, int>)_function("ncclGetUniqueId"))(&id), "ncclGetUniqueId");
        return id;
    }

    /// <summary>Joins the other ranks' devices; after <see cref="Use"/>.</summary>
    /// <exception cref="CommunicationException">They had not found each other after so long, or NCCL
    /// failed.</exception>
    public nint Join(int size, NcclId id, int rank, TimeSpan most)
    {
        // It waits for all ranks and cannot be told to give up: who gives up leaves it behind, and the process ends.
        var joining = Task.Factory.StartNew(
            () =>
            {
                nint communicator = 0;
                MakeCurrent();
                Check(((delegate* unmanaged<nint*, int, NcclId, int, int>)_function("ncclCommInitRank"))(
                    &communicator, size, id, rank), "ncclCommInitRank");
                return communicator;
            },
            TaskCreationOptions.LongRunning);
        if (!((IAsyncResult)joining).AsyncWaitHandle.WaitOne(most))
            throw new CommunicationException(Fault.Text(
                "ncclCommInitRank", $"after {most.TotalSeconds:0} seconds the ranks' GPUs had not found each other",
                null, "look at what NCCL says with the variable NCCL_DEBUG=INFO: NCCL_SOCKET_IFNAME names the network "
                    + "between the machines, training.ddp_timeout how long they may take"));
        return joining.GetAwaiter().GetResult();
    }

    public void AllReduce(nint values, long count, int type, nint communicator) => Check(
        ((delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int>)_function("ncclAllReduce"))(
            values, values, (nuint)count, type, Sum, communicator, 0), "ncclAllReduce");

    public void Broadcast(nint bytes, long count, int root, nint communicator) => Check(
        ((delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int>)_function("ncclBroadcast"))(
            bytes, bytes, (nuint)count, Byte, root, communicator, 0), "ncclBroadcast");

    /// <summary>Refuses to go on where NCCL has met an error since.</summary>
    public void CheckAsync(nint communicator)
    {
        var met = 0;
        Check(((delegate* unmanaged<nint, int*, int>)_function("ncclCommGetAsyncError"))(communicator, &met),
            "ncclCommGetAsyncError");
        if (met != InProgress)
            Check(met, "NCCL");
    }

    public void End(nint communicator, bool isAborted) =>
        _ = ((delegate* unmanaged<nint, int>)_function(isAborted ? "ncclCommAbort" : "ncclCommDestroy"))(communicator);

    /// <summary>Makes a device this thread's.</summary>
    public void Use(int device)
    {
        nint context = 0;
        CheckDriver(((delegate* unmanaged<uint, int>)_function("cuInit"))(0), "cuInit");
        CheckDriver(((delegate* unmanaged<nint*, int, int>)_function("cuDevicePrimaryCtxRetain"))(&context, device),
            "cuDevicePrimaryCtxRetain");
        _context = context;
        MakeCurrent();
    }

    private void MakeCurrent() => CheckDriver(
        ((delegate* unmanaged<nint, int>)_function("cuCtxSetCurrent"))(_context), "cuCtxSetCurrent");

    /// <summary>Whether what was asked of the device is done.</summary>
    public bool IsDone()
    {
        var code = ((delegate* unmanaged<nint, int>)_function("cuStreamQuery"))(0);
        if (code != NotReady)
            CheckDriver(code, "cuStreamQuery");
        return code != NotReady;
    }

    private static nint Load(string file, string expected) => NativeLibrary.TryLoad(file, out var library)
        ? library
        : throw UserException.At(
            "--device", $"{file} cannot be opened, without which ranks on GPUs cannot sum", expected,
            "install it, or give --device cpu");

    private void Check(int code, string function)
    {
        if (code == 0)
            return;
        var words = ((delegate* unmanaged<int, nint>)_function("ncclGetErrorString"))(code);
        throw new CommunicationException(Fault.Text(
            function, Marshal.PtrToStringUTF8(words) ?? $"error {code}", null,
            "look at what NCCL says with the variable NCCL_DEBUG=INFO"));
    }

    private static void CheckDriver(int code, string function)
    {
        if (code != 0)
            throw new CommunicationException(Fault.Text(
                function, $"error {code} of the GPU's driver", null, "look at what nvidia-smi says"));
    }
}

/// <summary>What ranks find each other by (ncclUniqueId).</summary>
internal unsafe struct NcclId
{
    /// <summary>Its bytes.</summary>
    public fixed byte Bytes[128];
}
