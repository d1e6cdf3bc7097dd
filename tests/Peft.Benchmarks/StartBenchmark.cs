namespace Peft.Benchmarks;

/// <summary>From the call of bin/peft to its end, where there is little to do: what a user waits for.</summary>
internal static class StartBenchmark
{
    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        if (BuiltProgram.Find("start") is not { } program)
            yield break;
        var seconds = Rounds.Seconds(
            options.Rounds, () => program.Run("--help"),
            () => program.Run("generate", "--base", "data/base", "--prompt", "The", "--max-new-tokens", "1"));
        yield return Measurement.Of("bin/peft --help", "s", seconds[0], "at most 0.10");
        yield return Measurement.Of("bin/peft generate, one token of the small base", "s", seconds[1], "at most 0.50");
    }
}
