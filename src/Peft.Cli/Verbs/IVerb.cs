using Peft.Cli.Printing;

namespace Peft.Cli.Verbs;

/// <summary>One verb of the program: its options are its properties.</summary>
public interface IVerb
{
    /// <summary>Whether libtorch is started first; without it the verb runs where libtorch is missing.</summary>
    bool UsesTensors => true;

    /// <summary>Does it and returns the exit code.</summary>
    int Run(Output output);
}

/// <summary>What the program tells the shell.</summary>
public static class ExitCode
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>A failure of the program, or a run that went wrong by itself.</summary>
    public const int Failure = 1;

    /// <summary>The user's mistake; nothing was written.</summary>
    public const int UserMistake = 2;

    /// <summary>A bound of <c>--fail-under</c> was missed.</summary>
    public const int GateFailed = 3;

    /// <summary>Interrupted after saving.</summary>
    public const int Interrupted = 130;
}
