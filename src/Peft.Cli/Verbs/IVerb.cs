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
