namespace Peft.Cli.Tests.Support;

/// <summary>What a run of the program came to.</summary>
internal sealed record ProgramRun(string CommandLine, int ExitCode, string Output, string Error)
{
    /// <summary>Lines of standard output.</summary>
    public string[] Lines => Output.TrimEnd('\n').Split('\n');

    /// <summary>Asserts the exit code, showing what was printed.</summary>
    public ProgramRun Exits(int code)
    {
        Assert.True(ExitCode == code, $"{CommandLine}: exit code {ExitCode}, expected {code}\n{Output}\n{Error}");
        return this;
    }

    /// <summary>Asserts exit code 0.</summary>
    public ProgramRun Succeeds() => Exits(0);

    /// <summary>
    /// Asserts the user's mistake: exit code 2, nothing on standard output, no stack trace, and the parts in the
    /// message.
    /// </summary>
    public ProgramRun IsRefused(params string[] parts)
    {
        Exits(2);
        Assert.Equal("", Output);
        Says(parts);
        Assert.DoesNotContain("   at ", Error);
        Assert.DoesNotContain("Exception", Error);
        return this;
    }

    /// <summary>Asserts that standard error holds the parts.</summary>
    public ProgramRun Says(params string[] parts)
    {
        Assert.All(parts,
            part => Assert.True(Error.Contains(part, StringComparison.Ordinal), $"not said: {part}\nsaid:\n{Error}"));
        return this;
    }
}
