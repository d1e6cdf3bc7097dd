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

    [Theory]
    [InlineData(8, false, 4, 2)]
    [InlineData(2, false, 4, 1)]
    [InlineData(2, true, 4, 2)]
    public void Ranks_share_the_processors_that_they_were_not_given(
        int processors, bool bound, int beside, int threads) =>
        Assert.Equal(threads, new Launch(0, 8, 0, beside, MpiFamily.OpenMpi, "").Threads(processors, bound));

    [Theory]
    [InlineData("0-3,8\n", 5)]
    [InlineData("7", 1)]
    public void Lists_of_processors_are_counted(string list, int count) => Assert.Equal(count, Launch.CountOf(list));

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
