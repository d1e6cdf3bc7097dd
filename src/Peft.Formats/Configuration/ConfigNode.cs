namespace Peft.Formats.Configuration;

/// <summary>
/// A value in a configuration file, with the place it came from. YAML and JSON both become this tree:
/// <see cref="ConfigMap"/>, <see cref="ConfigList"/> and <see cref="ConfigScalar"/>. Nodes never change.
/// </summary>
public abstract class ConfigNode
{
    private protected ConfigNode(string source, int line)
    {
        Source = source;
        Line = line;
    }

    /// <summary>The file, or <c>--set</c>, or another word for where the value was written.</summary>
    public string Source { get; }

    /// <summary>
    /// Line in <see cref="Source"/>, from 1; a value under a key has the key's line. 0 where there are no lines.
    /// </summary>
    public int Line { get; }

    /// <summary>
    /// The value in a few words, for the "found" part of a message: <c>'abc'</c>, <c>8</c>, <c>a list of 3</c>.
    /// </summary>
    public abstract string Describe();
}
