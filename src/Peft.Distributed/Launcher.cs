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
        if (Number("SLURM_STEP_NUM_TASKS") is { } tasks)
            return Of("SLURM_PROCID", tasks, "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE",
                variable("PMIX_RANK") is null ? MpiFamily.Mpich : MpiFamily.OpenMpi, "srun");
        if (Number("PMI_SIZE") is { } size)
            return Of("PMI_RANK", size, "MPI_LOCALRANKID", "MPI_LOCALNRANKS", MpiFamily.Mpich, "mpirun of MPICH");
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

    /// <summary>Threads of this rank: what it may use of the machine, shared among the ranks there.</summary>
    /// <param name="processors">Processors that this process may use.</param>
    /// <param name="isBound">Whether the launcher has given each rank its own already.</param>
    public int Threads(int processors, bool isBound) =>
        isBound ? processors : Math.Max(1, processors / Math.Max(1, LocalSize));

    /// <summary>Whether the launcher keeps this process to some of the machine's processors.</summary>
    public static bool IsBound()
    {
        const string Status = "/proc/self/status";
        const string Online = "/sys/devices/system/cpu/online";
        if (!File.Exists(Status) || !File.Exists(Online))
            return false;
        var allowed = File.ReadLines(Status).FirstOrDefault(line =>
            line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal))?.Split(':')[1];
        return allowed is not null && CountOf(allowed) < CountOf(File.ReadAllText(Online));
    }

    /// <summary>How many numbers a list such as 0-3,8 has.</summary>
    internal static int CountOf(string list) => list.Trim().Split(',').Sum(range =>
    {
        var ends = range.Split('-').Select(end => int.Parse(end, CultureInfo.InvariantCulture)).ToArray();
        return ends[^1] - ends[0] + 1;
    });
}
