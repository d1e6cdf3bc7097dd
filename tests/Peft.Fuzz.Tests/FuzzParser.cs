namespace Peft.Fuzz.Tests;

/// <summary>One reader of text from strangers, and valid inputs to start from.</summary>
/// <param name="Name">Short name for tables and folders.</param>
/// <param name="Seeds">Inputs that it reads without an error.</param>
/// <param name="Read">Reads the input and uses what came of it. Gets the folder and the input; a <c>UserException</c> is right, any
/// other exception a finding.</param>
internal sealed record FuzzParser(string Name, IReadOnlyList<byte[]> Seeds, Action<string, byte[]> Read)
{
    /// <summary>The file in the folder that the input is written to; null where it is no file.</summary>
    public string? FileName { get; init; }

    /// <summary>Writes the files that the input stands beside, once.</summary>
    public Action<string> Prepare { get; init; } = _ => { };

    /// <summary>Where the text that deserves structure-aware mutation begins and ends; null for all of the input.</summary>
    public Func<byte[], (int Start, int End)>? TextOf { get; init; }

    /// <summary>Makes lengths true again after the text was changed.</summary>
    public Func<byte[], int, byte[]> Mend { get; init; } = (input, _) => input;
}
