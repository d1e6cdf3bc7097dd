using Peft.Formats;

namespace Peft.Distributed.Tests;

/// <summary>What launchers tell a process.</summary>
public sealed class LauncherTests
{
    [Fact]
    public void Each_launcher_is_read_by_its_own_variables()
    {
        Assert.Equal(Launch.None, Read());
        Assert.Equal(new(3, 8, 1, 2, MpiFamily.OpenMpi, "mpirun of Open MPI"), Read(
            ("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "8"), ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2")));
        Assert.Equal(new(1, 4, 1, 4, MpiFamily.Mpich, "mpirun of MPICH"), Read(
            ("PMI_RANK", "1"), ("PMI_SIZE", "4"), ("MPI_LOCALRANKID", "1"), ("MPI_LOCALNRANKS", "4")));
        Assert.Equal(new(5, 16, 1, 4, MpiFamily.Mpich, "srun"), Read(
            ("SLURM_PROCID", "5"), ("SLURM_STEP_NUM_TASKS", "16"), ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "4(x4)")));
        Assert.Equal(MpiFamily.OpenMpi, Read(
            ("SLURM_PROCID", "5"), ("SLURM_STEP_NUM_TASKS", "16"), ("PMIX_RANK", "5")).Family);
    }

    [Fact]
    public void A_batch_script_of_Slurm_is_one_process() =>
        Assert.False(Read(("SLURM_PROCID", "0"), ("SLURM_NTASKS", "16")).IsShared);

    [Fact]
    public void Contradictions_and_other_launchers_are_refused()
    {
        Assert.Equal(
            "OMPI_COMM_WORLD_RANK: 4 of 4 ranks; expected a number from 0 to 3.",
            Refused(("OMPI_COMM_WORLD_RANK", "4"), ("OMPI_COMM_WORLD_SIZE", "4")));
        Assert.Equal(
            "PMI_RANK: not set, and mpirun of MPICH started 4 ranks; expected a number from 0 to 3. Start the program "
                + "by the launcher itself.",
            Refused(("PMI_SIZE", "4")));
        Assert.Equal(
            "WORLD_SIZE: 2 processes started by torchrun; expected ranks started by an MPI. Start them with mpirun or "
                + "srun.",
            Refused(("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "localhost")));
    }

    [Fact]
    public void MPICH_in_an_allocation_of_Slurm_is_read_by_its_own_variables_and_srun_with_PMI_by_those_of_Slurm()
    {
        Assert.Equal(new(3, 8, 1, 2, MpiFamily.Mpich, "mpirun of MPICH"), Read(
            ("PMI_RANK", "3"), ("PMI_SIZE", "8"), ("MPI_LOCALRANKID", "1"), ("MPI_LOCALNRANKS", "2"),
            ("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "1"), ("SLURM_LOCALID", "0")));
        Assert.Equal(new(5, 16, 1, 4, MpiFamily.Mpich, "srun"), Read(
            ("PMI_RANK", "5"), ("PMI_SIZE", "16"), ("SLURM_STEP_NUM_TASKS", "16"), ("SLURM_PROCID", "5"),
            ("SLURM_LOCALID", "1"), ("SLURM_STEP_TASKS_PER_NODE", "4(x4)")));
    }

    [Fact]
    public void Ranks_share_the_processors_that_several_may_use_and_keep_those_that_are_their_own()
    {
        Seat[] unbound = [new("a", "0-7"), new("a", "0-7"), new("a", "0-7"), new("b", "0-7")];
        Assert.Equal([2, 2, 2, 8], Enumerable.Range(0, 4).Select(rank => Seat.Threads(unbound, rank, 8)));
        Assert.Equal(4, Seat.Threads([new("a", "0-3"), new("a", "4-7")], 1, 4));
        Assert.Equal(1, Seat.Threads([new("a", "0-1"), new("a", "0-1"), new("a", "0-1")], 0, 2));
    }

    [Fact]
    public void A_launcher_that_leaves_most_of_a_machine_idle_is_told_of()
    {
        Seat[] seats = [new("a", "0"), new("a", "1"), new("b", "0-63")];
        Assert.Equal(
            "mpirun: keeps the 2 ranks on a to 2 of 16 processors. Start them with --bind-to none, or set "
                + "OMP_NUM_THREADS where that is meant.",
            Seat.Warning(seats, "a", "0-7,16-23"));
        Assert.Null(Seat.Warning(seats, "a", "0-2"));
        Assert.Null(Seat.Warning(seats, "b", "0-63"));
        Assert.Null(Seat.Warning([new("a", "")], "a", ""));
        Assert.NotEmpty(Seat.Own.Allowed);
        Assert.NotEmpty(Seat.OfLauncher());
    }

    [Fact]
    public void What_all_ranks_met_is_told_as_one_process_tells_it_and_what_some_met_with_their_names()
    {
        var same = Communication.Agreed(["2 a: b.", "2 a: b."], ["x", "y"]);
        Assert.Equal(("a: b.", 2), (same.Message, same.ExitCode));
        var some = Communication.Agreed(["", "1 full.", "2 a: b.", "2 a: b."], ["x", "x", "y", "z"]);
        Assert.Equal(("rank 1 on x: full.\nranks 2 and 3 on y and z: a: b.", 2), (some.Message, some.ExitCode));
    }

    [Fact]
    public void One_process_does_what_it_is_asked_without_an_engine()
    {
        Assert.Equal(3, Alone.Instance.Together(() => 3, _ => ("", 1)));
        Assert.Throws<InvalidOperationException>(() =>
            Alone.Instance.Together<int>(() => throw new InvalidOperationException(), _ => ("", 1)));
        Assert.Equal(["a"], Alone.Instance.Texts("a"));
        Assert.True(Alone.Instance.Any(true));
    }

    private static Launch Read(params (string Name, string Value)[] variables) => Launch.Read(name =>
        variables.Where(variable => variable.Name == name).Select(variable => variable.Value).FirstOrDefault());

    private static string Refused(params (string Name, string Value)[] variables) =>
        Assert.Throws<UserException>(() => Read(variables)).Message;
}
