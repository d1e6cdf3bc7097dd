using Xunit.Abstractions;

namespace Peft.Cli.Tests.Crash;

public sealed class CrashSafetyTests(ITestOutputHelper output)
{
    private const int Kills = 20; // make soak: 200 and more

    [CrashFact]
    public void Whatever_is_on_the_disk_verifies_after_every_kill_and_a_continued_run_ends_in_the_same_bytes()
    {
        using var rounds = new CrashRounds(seed: 1, isTimed: false, output.WriteLine);
        rounds.Run(Kills);
    }
}
