using System.Globalization;
using Peft.Formats;

namespace Peft.Distributed;

/// <summary>Which engine a launcher speaks to.</summary>
public enum MpiFamily
{
    /// <summary>Open MPI, through PMIx.</summary>
    OpenMpi,

    /// <summary>MPICH and what has its binary interface (Intel MPI, Cray MPICH, MVAPICH), through PMI.</summary>
    Mpich,
}

/// <summary>Where this process stands among those that a launcher started.</summary>
/// <param name="Rank">Its number, from 0.</param>
/// <param name="Size">How many there are.</param>
/// <param name="LocalRank">Its number on this machine, from 0.</param>
/// <param name="LocalSize">How many there are on this machine.</param>
/// <param name="Family">What the launcher speaks.</param>
/// <param name="Launcher">Its name, for messages.</param>
public sealed record Launch(int Rank, int Size, int LocalRank, int LocalSize, MpiFamily Family, string Launcher)
{
    /// <summary>A process that nobody launched.</summary>
    public static Launch None { get; } = new(0, 1, 0, 1, MpiFamily.OpenMpi, "");

    /// <summary>Whether there is more than one rank.</summary>
    public bool IsShared => Size > 1;

    /// <summary>Reads the launcher's variables; loads nothing.</summary>
    /// <remarks>
    /// Source: Open MPI 4.1, mpirun(1), Environmental Variables; MPICH 4.0's hydra; Slurm's srun(1), Output Environment
    /// Variables. A batch script of Slurm has SLURM_NTASKS too, and is one process: only steps have
    /// SLURM_STEP_NUM_TASKS.
    /// </remarks>
    /// <param name="variable">Gives a variable of the environment.</param>
    /// <exception cref="UserException">They contradict each other, or are those of a launcher without MPI.</exception>
    public static Launch Read(Func<string, string?> variable)
    {
        if (Number("OMPI_COMM_WORLD_SIZE") is { } open)
            return Of("OMPI_COMM_WORLD_RANK", open, "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
                MpiFamily.OpenMpi, "mpirun of Open MPI");
        // MPICH's mpirun starts its own helpers by srun, whose variables its ranks see too; srun's ranks by PMI have no
        // number on their machine from PMI.
        if (Number("PMI_SIZE") is { } size
            && (variable("MPI_LOCALRANKID") is not null || Number("SLURM_STEP_NUM_TASKS") != size))
            return Of("PMI_RANK", size, "MPI_LOCALRANKID", "MPI_LOCALNRANKS", MpiFamily.Mpich, "mpirun of MPICH");
        if (Number("SLURM_STEP_NUM_TASKS") is { } tasks)
            return Of("SLURM_PROCID", tasks, "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE",
                variable("PMIX_RANK") is null ? MpiFamily.Mpich : MpiFamily.OpenMpi, "srun");
        if (Number("WORLD_SIZE") is > 1 and var world && variable("RANK") is not null
            && variable("MASTER_ADDR") is not null)
            throw UserException.At(
                "WORLD_SIZE", $"{world} processes started by torchrun", "ranks started by an MPI",
                "start them with mpirun or srun");
        return None;

        Launch Of(string rank, int all, string localRank, string localSize, MpiFamily family, string launcher)
        {
            var own = Number(rank) ?? throw UserException.At(
                rank, $"not set, and {launcher} started {Words.Count(all, "rank")}", $"a number from 0 to {all - 1}",
                "start the program by the launcher itself");
            if (own >= all)
                throw UserException.At(rank, $"{own} of {Words.Count(all, "rank")}", $"a number from 0 to {all - 1}");
            // Slurm writes 4(x2),3.
            var beside = (variable(localSize) ?? "").Split('(', ',')[0];
            var isKnown = int.TryParse(beside, NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n > 0;
            var local = isKnown ? n : 1;
            return new(own, all, Number(localRank) ?? 0, local, family, launcher);
        }

        int? Number(string name) => int.TryParse(
            variable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
    }
}

/// <summary>Which of a machine's processors the ranks there may use.</summary>
/// <param name="Host">The machine.</param>
/// <param name="Allowed">Processors that the rank may use, as the kernel lists them (0-3,8); empty: unknown.</param>
public sealed record Seat(string Host, string Allowed)
{
    private const string Status = "status";
    private const string Key = "Cpus_allowed_list:";

    /// <summary>That of this process.</summary>
    public static Seat Own { get; } = new(Environment.MachineName, AllowedOf("self"));

    /// <summary>The seats of all ranks, known to each.</summary>
    public static IReadOnlyList<Seat> Of(ICommunicator ranks) =>
        [.. ranks.Texts($"{Own.Host}\t{Own.Allowed}").Select(text => text.Split('\t'))
            .Select(parts => new Seat(parts[0], parts[1]))];

    /// <summary>Threads of a rank: the processors that it may use, shared with the ranks that may use the
    /// same.</summary>
    /// <param name="seats">Those of all ranks.</param>
    /// <param name="rank">Which.</param>
    /// <param name="processors">Processors that it may use.</param>
    public static int Threads(IReadOnlyList<Seat> seats, int rank, int processors) =>
        Math.Max(1, processors / seats.Count(seat => seat == seats[rank]));

    /// <summary>What to tell where the launcher keeps the ranks of a machine to few of its processors, as Open MPI does
    /// with two ranks; null: nothing.</summary>
    /// <param name="seats">Those of all ranks.</param>
    /// <param name="host">The machine.</param>
    /// <param name="launcher">Processors of the launcher itself there.</param>
    public static string? Warning(IReadOnlyList<Seat> seats, string host, string launcher)
    {
        List<Seat> here = [.. seats.Where(seat => seat.Host == host)];
        var (used, all) = (here.SelectMany(seat => Numbers(seat.Allowed)).ToHashSet().Count, Numbers(launcher).Count);
        return used == 0 || used * 2 > all ? null : Fault.Text(
            "mpirun", $"keeps the {Words.Count(here.Count, "rank")} on {host} to {used} of {all} processors", null,
            "start them with --bind-to none, or set OMP_NUM_THREADS where that is meant");
    }

    /// <summary>Processors of the process that started this one.</summary>
    public static string OfLauncher()
    {
        const string Parent = "PPid:";
        return Line("self", Parent) is { } parent ? AllowedOf(parent) : "";
    }

    private static string AllowedOf(string process) => Line(process, Key) ?? "";

    private static string? Line(string process, string key)
    {
        var file = Path.Combine("/proc", process, Status);
        return File.Exists(file) ? File.ReadLines(file).FirstOrDefault(line =>
            line.StartsWith(key, StringComparison.Ordinal))?[key.Length..].Trim() : null;
    }

    // 0-3,8.
    private static IReadOnlyList<int> Numbers(string list) =>
        [.. list.Split(',', StringSplitOptions.RemoveEmptyEntries).SelectMany(range =>
        {
            var ends = range.Split('-').Select(end => int.Parse(end, CultureInfo.InvariantCulture)).ToArray();
            return Enumerable.Range(ends[0], ends[^1] - ends[0] + 1);
        })];
}
