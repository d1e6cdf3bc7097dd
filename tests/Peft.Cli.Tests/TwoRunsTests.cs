using Peft.Cli.Tests.Crash;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>Two processes that want the same output directory.</summary>
public sealed class TwoRunsTests : IDisposable
{
    private readonly TempFolder _folder = new();

    [Fact]
    public void A_directory_that_a_living_process_writes_is_refused_and_its_run_is_not_disturbed()
    {
        _folder.Write("r.yaml",
            TinyBase.Recipe("{r: 2}", "{max_steps: 100000, save_steps: 0, logging_steps: 1, report_to: none}"));
        using var first = PeftProcess.Start(_folder, new(), "train", "r.yaml", "--output", "out");
        first.WaitFor("step 2/");
        foreach (var words in (string[][])[[], ["--overwrite"], ["--resume", "auto"]])
            PeftProcess.Run(_folder,
                ["train", "r.yaml", "--output", "out", .. words]).IsRefused("out: another run is writing here now",
                "--output");
        first.Send(PeftProcess.Terminate);
        first.Wait().Exits(130);
        Assert.False(TrainedFolder.AssertIntact(_folder["out"]));
        Assert.Single(Directory.GetDirectories(_folder["out"], "checkpoint-*"));
    }

    [Fact]
    public void Of_two_runs_that_begin_at_once_one_gets_the_directory()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 3, report_to: none}"));
        using var one = PeftProcess.Start(_folder, new(), "train", "r.yaml", "--output", "out");
        using var other = PeftProcess.Start(_folder, new(), "train", "r.yaml", "--output", "out");
        var runs = new[] { one.Wait(), other.Wait() }.OrderBy(run => run.ExitCode).ToList();
        runs[0].Succeeds();
        runs[1].Exits(2);
        Assert.Matches(
            "out: (another run is writing here now|holds an unfinished run|holds the result of an earlier run)",
            runs[1].Error);
        Assert.True(TrainedFolder.AssertIntact(_folder["out"]));
        Assert.Equal(3, File.ReadLines(_folder["out/metrics.jsonl"]).Count());
    }

    public void Dispose() => _folder.Dispose();
}
