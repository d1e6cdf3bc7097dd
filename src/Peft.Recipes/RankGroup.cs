using System.Security.Cryptography;
using Peft.Distributed;
using Peft.Distributed.Mpi;
using Peft.Distributed.Nccl;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Training.Ranks;

namespace Peft.Recipes;

/// <summary>The processes that a launcher started for one command, as one of them sees them.</summary>
/// <param name="launch">What the launcher said.</param>
/// <param name="ranks">All of them.</param>
/// <param name="seats">Which processors each may use.</param>
public sealed class RankGroup(Launch launch, ICommunicator ranks, IReadOnlyList<Seat> seats)
{
    /// <summary>One process.</summary>
    public static RankGroup Alone { get; } = new(Launch.None, Distributed.Alone.Instance, []);

    /// <summary>What the launcher said.</summary>
    public Launch Launch => launch;

    /// <summary>All of them; their numbers are in the memory of the host.</summary>
    public ICommunicator Ranks => ranks;

    /// <summary>The same for numbers in the memory of a GPU; null where there is none.</summary>
    public ICommunicator? DeviceRanks { get; private set; }

    /// <summary>What to tell of how the launcher shares out this machine's processors; null: nothing.</summary>
    public string? Warning => launch.IsShared && !HasOwnThreads && launch.Launcher != "srun"
        ? Seat.Warning(seats, Environment.MachineName, Seat.OfLauncher()) : null;

    private static bool HasOwnThreads => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("OMP_NUM_THREADS"));

    /// <summary>Starts libtorch with this rank's share of the machine's processors, unless OMP_NUM_THREADS
    /// says.</summary>
    public void StartTensors() => TorchRuntime.Start(!launch.IsShared || HasOwnThreads ? null
        : Seat.Threads(seats, ranks.Rank, Environment.ProcessorCount));

    /// <summary>Lets ranks on GPUs sum there; all ranks come.</summary>
    /// <param name="device">This rank's.</param>
    /// <exception cref="AgreedException">NCCL is missing on a rank, or failed there.</exception>
    public void Connect(Device device)
    {
        if (launch.IsShared && ranks.Any(device.type == DeviceType.CUDA))
            DeviceRanks = NcclCommunicator.Join(ranks, Math.Max(0, device.index), Timeout);
    }

    /// <summary>Sets how long one rank may keep the others waiting.</summary>
    public void WaitAtMost(TimeSpan time)
    {
        Timeout = time;
        if (ranks is MpiCommunicator mpi)
            mpi.Timeout = time;
    }

    private TimeSpan Timeout { get; set; } = TimeSpan.FromMinutes(30);

    /// <summary>The device that a command line names; of several GPUs, auto takes that of the local rank.</summary>
    /// <exception cref="UserException">There is no such device, or not one for each rank.</exception>
    public Device Device(string name)
    {
        var device = Devices.Choose(name);
        if (!launch.IsShared || device.type == DeviceType.CPU)
            return device;
        if (name is not ("auto" or "cuda"))
            throw UserException.At(
                "--device", $"{name} for {Words.Count(launch.Size, "rank")}", "auto or cuda, which give each its own");
        var devices = torch.cuda.device_count();
        // Slurm may show each rank its own alone.
        var shown = Environment.GetEnvironmentVariable("CUDA_VISIBLE_DEVICES");
        if (devices == 1 && shown?.Contains(',') == false)
            return device;
        return launch.LocalRank < devices ? torch.device($"cuda:{launch.LocalRank}") : throw UserException.At(
            "--device", $"{Words.Count(devices, "GPU")} for {Words.Count(launch.LocalSize, "rank")} on "
                + Environment.MachineName, "one for each rank", "start fewer ranks on a machine");
    }

    /// <summary>Refuses more ranks than a step has rows.</summary>
    /// <exception cref="UserException">It cannot be shared by so many.</exception>
    public void RequireShareable(Recipe recipe)
    {
        if (!launch.IsShared)
            return;
        var training = recipe.Training;
        var rows = (long)training.PerDeviceTrainBatchSize * training.GradientAccumulationSteps;
        if (launch.Size > rows)
            throw UserException.At(
                recipe.Path, $"{Words.Count(launch.Size, "rank")} for {Words.Count(rows, "row")} of a step "
                    + "(training.per_device_train_batch_size times gradient_accumulation_steps, of all ranks together)",
                "at least one row for each rank",
                $"start at most {Words.Count(rows, "rank")}, or raise one of the two");
    }

    /// <summary>What must be the same on each rank beside what the training loop compares.</summary>
    public static IReadOnlyList<(string Name, string Value)> IdentityOf(
        Recipe recipe, HuggingFaceTokenizer tokenizer) =>
    [
        ("the program", ProgramHash()),
        ("libtorch", TorchRuntime.Version),
        ("the base model", recipe.Model.FromConfig is null
            ? ModelLoader.Fingerprint(recipe.Paths.Resolve(recipe.Model.Directory))[..12] : "of its config"),
        ("the tokenizer", Handshake.Short(tokenizer.Sha256)),
        ("what the recipe says of logging, saving and evaluation", Handshake.Short(recipe.Rest())),
        ("the rows of evaluation.tasks", Handshake.Short(recipe.Evaluation.Tasks.Count == 0
            ? "" : new TaskMeasurement(recipe, tokenizer).RowsHash)),
    ];

    // Each room is a file of its own, and one of them may be from another build.
    private static string ProgramHash()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var file in Directory.GetFiles(AppContext.BaseDirectory, "Peft.*.dll").Order(StringComparer.Ordinal))
            hash.AppendData(SHA256.HashData(File.ReadAllBytes(file)));
        return Convert.ToHexStringLower(hash.GetHashAndReset())[..12];
    }
}
