namespace Peft.Cli;

/// <summary>What the program tells the shell.</summary>
public static class ExitCode
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>Our failure, or a run that went wrong by itself.</summary>
    public const int Failure = 1;

    /// <summary>The user's mistake; nothing was written.</summary>
    public const int UserMistake = 2;

    /// <summary>A quality gate failed.</summary>
    public const int GateFailed = 3;

    /// <summary>Interrupted after saving.</summary>
    public const int Interrupted = 130;
}
