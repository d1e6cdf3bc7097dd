using System.Reflection;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;

namespace Peft.Chat;

/// <summary>Finds chat templates: a checkpoint's own, common ones by name, files, and texts of a recipe.</summary>
public static class TemplateCatalog
{
    private const string ToolUse = "tool_use";

    private static readonly Assembly Home = typeof(TemplateCatalog).Assembly;

    /// <summary>Names of the common ones.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. Home.GetManifestResourceNames().Order(StringComparer.Ordinal)];

    /// <summary>The text of a common one.</summary>
    public static string Text(string name)
    {
        using var reader = new StreamReader(Home.GetManifestResourceStream(name)!);
        return reader.ReadToEnd().TrimEnd('\n');
    }

    /// <summary>The template that a recipe or command line asks for.</summary>
    /// <param name="asked">A template's text, one of the checkpoint's or of the common ones by name, or a file; null
    /// for the checkpoint's own.</param>
    /// <param name="own">The templates and special tokens of the checkpoint.</param>
    /// <param name="resolve">Finds a file.</param>
    /// <param name="place">Where it is asked for, for messages.</param>
    /// <exception cref="UserException">There is no such template, or it is not Jinja.</exception>
    public static ChatTemplate Find(string? asked, ChatTemplates own, Func<string, string> resolve, string place)
    {
        var tokens = own.SpecialTokens;
        if (asked is null)
        {
            if (own.ByName.Count == 0)
                throw UserException.At(
                    place, $"missing, and {own.Directory} has no chat template",
                    $"{Words.OneOf(Names)}, a file, or the text of a template", $"for example {Key(place)}");
            var tools = own.ByName.TryGetValue(ToolUse, out var other)
                ? ChatTemplate.Parse(other, $"{own.Directory}, {ToolUse}", tokens) : null;
            return ChatTemplate.Parse(own.Choose(null, hasTools: false), own.Directory, tokens, tools);
        }

        if (asked.Contains("{%", StringComparison.Ordinal) || asked.Contains("{{", StringComparison.Ordinal))
            return ChatTemplate.Parse(asked, place, tokens);
        if (own.ByName.TryGetValue(asked, out var named))
            return ChatTemplate.Parse(named, $"{own.Directory}, {asked}", tokens);
        if (Names.Contains(asked))
            return ChatTemplate.Parse(Text(asked), asked, tokens);
        var path = resolve(asked);
        if (File.Exists(path))
            return ChatTemplate.Parse(ChatTemplates.ReadFile(path), asked, tokens);
        IReadOnlyList<string> known = [.. own.ByName.Keys.Concat(Names).Distinct()];
        var near = NearestName.Of(asked, known);
        throw UserException.At(
            place, $"{Quote.Of(asked)} is no template and no file",
            $"{Words.OneOf(known)}, a file, or the text of a template",
            near is null ? MissingPath.Advice(asked) : $"did you mean {near}?");
    }

    private static string Key(string place) =>
        place.StartsWith('-') ? $"{place} chatml" : $"{place.Split('.')[^1]}: chatml";
}
