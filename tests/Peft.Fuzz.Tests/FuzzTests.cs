using Peft.Formats;
using Peft.Tests;

namespace Peft.Fuzz.Tests;

/// <summary>A few thousand inputs of what `make fuzz` tries a million of.</summary>
public sealed class FuzzTests
{
    private const int InputsEach = 250;
    private const long Seed = 20261;

    public static TheoryData<string> Parsers => [.. FuzzParsers.All.Select(parser => parser.Name)];

    [Theory]
    [MemberData(nameof(Parsers))]
    public void Mutated_inputs_are_accepted_or_refused_with_a_typed_error(string name)
    {
        var outcome = Driver().Run(Parser(name), InputsEach);
        Assert.True(outcome.Findings.Count == 0, string.Join("\n\n", outcome.Findings));
        Assert.Equal(InputsEach, outcome.Inputs);
        Assert.True(outcome.Accepted < InputsEach, "nothing was refused");
    }

    [Theory]
    [MemberData(nameof(Parsers))]
    public void Seeds_are_read_without_an_error(string name)
    {
        var parser = Parser(name);
        Assert.All(parser.Seeds, seed => Driver().Replay(parser, seed));
    }

    [Fact]
    public void The_same_seed_makes_the_same_inputs_and_another_seed_others()
    {
        var parser = Parser("recipe");
        byte[][] Inputs(long seed) =>
            [.. Enumerable.Range(0, 20).Select(i => new FuzzDriver("", seed).InputOf(parser, i))];
        Assert.Equal(Inputs(1), Inputs(1));
        Assert.NotEqual(Inputs(1), Inputs(2));
    }

    [Fact]
    public void An_untyped_error_is_found_once_and_its_input_saved()
    {
        using var folder = new FuzzFolder();
        var outcome = new FuzzDriver(folder.Path, 1).Run(Reader(_ => throw new InvalidOperationException("oops")), 5);
        var finding = Assert.Single(outcome.Findings);
        Assert.StartsWith("crash InvalidOperationException in ", finding.Kind);
        Assert.Contains("oops", finding.Detail);
        Assert.Equal(
            new FuzzDriver(folder.Path, 1).InputOf(Reader(_ => { }), finding.Number), File.ReadAllBytes(finding.File));
    }

    [Fact]
    public void A_typed_error_is_no_finding()
    {
        using var folder = new FuzzFolder();
        var outcome = new FuzzDriver(folder.Path, 1).Run(Reader(_ => throw new UserException("no")), 5);
        Assert.Empty(outcome.Findings);
        Assert.Equal((5, 0), (outcome.Inputs, outcome.Accepted));
    }

    [Fact]
    public void An_input_that_never_ends_is_found()
    {
        using var folder = new FuzzFolder();
        var driver = new FuzzDriver(folder.Path, 1) { ClockLimit = TimeSpan.FromMilliseconds(100) };
        var outcome = driver.Run(Reader(_ => Thread.Sleep(Timeout.Infinite)), 5);
        Assert.Equal("hang", Assert.Single(outcome.Findings).Kind);
    }

    [Fact]
    public void An_input_that_takes_much_memory_is_found()
    {
        using var folder = new FuzzFolder();
        var driver = new FuzzDriver(folder.Path, 1) { AllocationBase = 1000, AllocationPerByte = 1 };
        var outcome = driver.Run(Reader(_ => GC.KeepAlive(new byte[10_000])), 1);
        Assert.Equal("memory", Assert.Single(outcome.Findings).Kind);
    }

    private static FuzzParser Parser(string name) => FuzzParsers.All.Single(parser => parser.Name == name);

    private static FuzzParser Reader(Action<byte[]> read) =>
        new("made", ["seed"u8.ToArray()], (_, input) => read(input));

    private static FuzzDriver Driver() => new(Path.Combine(SharedAssets.Repository, ".artifacts", "fuzz"), Seed);

    private sealed class FuzzFolder : IDisposable
    {
        public string Path { get; } = Directory.CreateTempSubdirectory("peft-fuzz-").FullName;

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
