using System.Globalization;
using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// The library itself: versions, threads, memory, devices.
public static partial class torch
{
    private static readonly Lock StartGate = new();
    private static bool _started;

    /// <summary>libtorch's version, such as <c>1.13.0</c>.</summary>
    public static string version
    {
        get
        {
            pt_libtorch_version(out var number);
            return NativeLibraryLocator.FormatVersion(number);
        }
    }

    /// <summary>Tensors whose handles are held now, in the whole program: equal before and after anything that leaks
    /// none.</summary>
    public static long LiveTensorCount
    {
        get
        {
            pt_live_tensor_count(out var count);
            return count;
        }
    }

    /// <summary>Path of the libtorch in use.</summary>
    public static string LibraryPath => NativeText.Read(pt_libtorch_path);

    /// <summary>Path of the native shim in use; null before the first call of it.</summary>
    public static string? ShimPath => NativeLibraryLocator.LoadedFile;

    /// <summary>Folder of the OpenBLAS that was put in place of the system's choice; null where that stands.</summary>
    public static string? BlasFolder => NativeLibraryLocator.BlasFolder;

    /// <summary>Files that <see cref="from_file"/> holds mapped now.</summary>
    public static long MappedFileCount
    {
        get
        {
            pt_mapped_file_count(out var count);
            return count;
        }
    }

    /// <summary>Starts the library once: loads it with the right BLAS, keeps freed memory in the process, sets the
    /// threads.</summary>
    /// <param name="threads">Threads of libtorch's loops; null means what the environment variable OMP_NUM_THREADS says, or else the
    /// processors this process may really use (CPU affinity and the container's quota are respected).</param>
    /// <exception cref="NativeLibraryException">The native library or libtorch is missing or of another
    /// version.</exception>
    public static void Initialize(int? threads = null)
    {
        lock (StartGate)
        {
            // Outside any import, so that a missing library is not wrapped in another exception.
            NativeLibraryLocator.Load();
            if (!_started) pt_tune_allocator();
            if (!_started || threads is not null) set_num_threads(threads ?? DefaultThreads(Environment.GetEnvironmentVariable("OMP_NUM_THREADS")));
            _started = true;
        }
    }

    /// <summary>The threads that OMP_NUM_THREADS asks for (of a list the first number, as OpenMP reads it), or else one a processor.</summary>
    internal static int DefaultThreads(string? asked) =>
        int.TryParse((asked ?? "").Split(',')[0], NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out var count)
            && count > 0
            ? count
            : Environment.ProcessorCount;

    /// <summary>Sets the threads of libtorch's and the BLAS's loops.</summary>
    public static void set_num_threads(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        pt_set_num_threads(threads);
    }

    /// <summary>Threads of libtorch's loops.</summary>
    public static int get_num_threads()
    {
        pt_get_num_threads(out var count);
        return count;
    }

    /// <summary>Seeds libtorch's default generators. Where the order of calls matters use a <see cref="Generator"/>
    /// instead.</summary>
    public static void manual_seed(long seed) => pt_manual_seed(seed);

    /// <summary>Refuses operations that have no deterministic implementation, or allows them again.</summary>
    public static void use_deterministic_algorithms(bool mode) => pt_use_deterministic_algorithms(mode);

    /// <summary>Whether operations without a deterministic implementation are refused.</summary>
    public static bool are_deterministic_algorithms_enabled()
    {
        pt_are_deterministic_algorithms_enabled(out var on);
        return on;
    }

    /// <summary>libtorch's own description of its build.</summary>
    public static string show_config() => NativeText.Read(pt_show_config);

    /// <summary>Gives memory that was freed back to the kernel; for the end of a phase, not for a loop.</summary>
    public static void trim_memory() => pt_trim_allocator();

    /// <summary>NVIDIA GPUs.</summary>
    public static class cuda
    {
        /// <summary>Whether one can be used.</summary>
        public static bool is_available()
        {
            pt_cuda_is_available(out var available);
            return available;
        }

        /// <summary>How many can be used.</summary>
        public static int device_count()
        {
            pt_cuda_device_count(out var count);
            return count;
        }

        /// <summary>Waits until a device has done its work.</summary>
        public static void synchronize(int index = 0) => pt_cuda_synchronize(index);
    }

    /// <summary>Choices among implementations.</summary>
    public static class backends
    {
        /// <summary>Whether float32 products on the CPU may use oneDNN; otherwise the BLAS.</summary>
        public static bool mkldnn_enabled
        {
            get
            {
                pt_get_mkldnn_enabled(out var on);
                return on;
            }

            set => pt_set_mkldnn_enabled(value);
        }

        /// <summary>Lets float32 products on CUDA use TF32, or not.</summary>
        public static void allow_tf32(bool allow) => pt_set_allow_tf32(allow);
    }
}
