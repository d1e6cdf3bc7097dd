using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;

namespace Peft.Adapters.Lora;

/// <summary>Modules by Hugging Face PEFT's rules: a list of names, a regular expression, or <c>all-linear</c>.</summary>
public sealed record ModuleNames
{
    private const string AllLinearText = "all-linear";

    private ModuleNames(IReadOnlyList<string> names, string? pattern)
    {
        Names = names;
        Pattern = pattern;
    }

    /// <summary>Every linear projection except the output embedding.</summary>
    public static ModuleNames AllLinear { get; } = new([], AllLinearText);

    /// <summary>No module at all.</summary>
    public static ModuleNames None { get; } = new([], null);

    /// <summary>The names of a list; empty where a pattern was given.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The regular expression (must match the whole path) or <c>all-linear</c>; null where a list was given.</summary>
    public string? Pattern { get; }

    /// <summary>Whether this is <c>all-linear</c>, in any case.</summary>
    public bool IsAllLinear => string.Equals(Pattern, AllLinearText, StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether nothing is named.</summary>
    public bool IsEmpty => Pattern is null && Names.Count == 0;

    /// <summary>Modules by exact path or by the end of the path (<c>q_proj</c> matches <c>….self_attn.q_proj</c>).</summary>
    public static ModuleNames List(IEnumerable<string> names) => new([.. names], null);

    /// <summary>Modules whose whole path matches a regular expression; <c>all-linear</c> is read as <see cref="AllLinear"/>.</summary>
    public static ModuleNames Matching(string pattern) => new([], pattern);

    /// <summary>Reads a key that may hold a list or one string, as PEFT reads it.</summary>
    public static ModuleNames Read(OptionReader reader, string key, ModuleNames fallback)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(fallback);
        if (reader.Node(key) is ConfigScalar { IsNull: false })
        {
            var pattern = reader.Text(key, fallback.Pattern ?? "");
            if (ModulePattern.ProblemOf(pattern) is { } problem)
                reader.Fault(key, Quote.Of(pattern), "a list of names, all-linear, or a regular expression", problem);
            return Matching(pattern);
        }
        if (!reader.Has(key) && fallback.Pattern is not null)
            return Matching(reader.Text(key, fallback.Pattern));
        var names = reader.Texts(key, fallback.Names);
        return names.Count == 0 ? None : List(names);
    }

    /// <summary>Whether a path is named; <c>all-linear</c> names every path.</summary>
    public bool Matches(string path) =>
        IsAllLinear
        || (Pattern is not null ? ModulePattern.MatchesWhole(Pattern, path) : Names.Any(name => ModulePattern.IsNamed(name, path)));

    /// <summary>The list or string, as JSON holds it; null where nothing is named.</summary>
    public JsonNode? ToJson() =>
        Pattern is not null ? JsonValue.Create(Pattern)
        : Names.Count == 0 ? null
        : new JsonArray([.. Names.Select(name => (JsonNode)JsonValue.Create(name)!)]);

    /// <inheritdoc/>
    public override string ToString() => Pattern ?? $"[{string.Join(", ", Names)}]";
}
