namespace Peft.Formats.Configuration;

/// <summary>Values in order.</summary>
public sealed class ConfigList : ConfigNode
{
    /// <summary>Makes a list.</summary>
    public ConfigList(string source, int line, IEnumerable<ConfigNode> items)
        : base(source, line) => Items = [.. items];

    /// <summary>The values.</summary>
    public IReadOnlyList<ConfigNode> Items { get; }

    /// <inheritdoc/>
    public override string Describe() => Items.Count == 0 ? "an empty list" : $"a list of {Items.Count}";
}
