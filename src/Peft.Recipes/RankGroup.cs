using Peft.Adapters.Routing;
using Peft.Distributed;
using Peft.Distributed.Mpi;
using Peft.Formats;
using Peft.Models;

namespace Peft.Recipes;

/// <summary>The processes that a launcher started for one command, as one of them sees them.</summary>
/// <param name="launch">What the launcher said.</param>
/// <param name="ranks">All of them.</param>
public sealed class RankGroup(Launch launch, ICommunicator ranks)
{
    /// <summary>One process.</summary>
    public static RankGroup Alone { get; } = new(Launch.None, Distributed.Alone.Instance);

    /// <summary>What the launcher said.</summary>
    public Launch Launch => launch;

    /// <summary>All of them; their numbers are in the memory of the host.</summary>
    public ICommunicator Ranks => ranks;

    /// <summary>The same for numbers in the memory of a GPU; null where there is none.</summary>
    public ICommunicator? DeviceRanks { get; init; }

    /// <summary>Starts libtorch with this rank's share of the machine's processors, unless OMP_NUM_THREADS
    /// says.</summary>
    public void StartTensors()
    {
        var asked = Environment.GetEnvironmentVariable("OMP_NUM_THREADS");
        TorchRuntime.Start(!launch.IsShared || !string.IsNullOrEmpty(asked) ? null
            : launch.Threads(Environment.ProcessorCount, Launch.IsBound()));
    }

    /// <summary>Sets how long one rank may keep the others waiting.</summary>
    public void WaitAtMost(TimeSpan time)
    {
        if (ranks is MpiCommunicator mpi)
            mpi.Timeout = time;
    }

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

    /// <summary>Refuses more ranks than a step has rows, and what needs all tokens of a batch in one place.</summary>
    /// <exception cref="UserException">It cannot be shared by so many.</exception>
    public void RequireShareable(Recipe recipe)
    {
        if (!launch.IsShared)
            return;
        if (recipe.AdapterOptions?.Router is ExpertRouterOptions
            {
                Balance: { HasDuals: true } or { Kind: BalanceOptions.Sinkhorn },
            } router)
            throw UserException.At(
                recipe.Path, $"adapter.router.balance.kind: {router.Balance.Kind} for "
                    + Words.Count(launch.Size, "rank"),
                $"{BalanceOptions.None}, {BalanceOptions.Switch}, {BalanceOptions.Localized} or "
                    + $"{BalanceOptions.LossFree}, which need sums alone",
                "train in one process, which sees all tokens of a step");
        var training = recipe.Training;
        var rows = (long)training.PerDeviceTrainBatchSize * training.GradientAccumulationSteps;
        if (launch.Size > rows)
            throw UserException.At(
                recipe.Path, $"{Words.Count(launch.Size, "rank")} for {Words.Count(rows, "row")} of a step "
                    + "(training.per_device_train_batch_size times gradient_accumulation_steps, of all ranks together)",
                "at least one row for each rank",
                $"start at most {Words.Count(rows, "rank")}, or raise one of the two");
    }

    /// <summary>What must be the same on each rank beside the recipe, the rows and the parameters.</summary>
    public IReadOnlyList<(string Name, string Value)> IdentityOf(Recipe recipe) =>
    [
        ("the program", typeof(RankGroup).Assembly.ManifestModule.ModuleVersionId.ToString("N")[..12]),
        ("libtorch", TorchRuntime.Version),
        ("the base model", recipe.Model.FromConfig is null
            ? ModelLoader.Fingerprint(recipe.Paths.Resolve(recipe.Model.Directory))[..12] : "of its config"),
    ];
}
