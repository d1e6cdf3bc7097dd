using System.Collections;
using System.Text.Json;
using System.Text.Json.Nodes;
using Scriban.Runtime;

namespace Peft.Formats.Templates;

/// <summary>Values as templates see them: texts, numbers, truth values, dates, lists and objects of these. Nothing else, so that a template never
/// meets a .NET type.</summary>
public static class TemplateValues
{
    /// <summary>A dictionary, list, JSON value or plain value as a template sees it.</summary>
    /// <exception cref="ArgumentException">It is of another kind.</exception>
    public static object? Of(object? value) => value switch
    {
        null or string or bool or int or long or double or decimal or DateTime or ScriptObject or ScriptArray or WrittenNumber => value,
        float single => (double)single,
        JsonElement element => OfJson(element),
        JsonNode node => OfJson(JsonSerializer.SerializeToElement(node)),
        IEnumerable<KeyValuePair<string, object?>> pairs => OfPairs(pairs),
        IEnumerable list => OfList(list),
        _ => throw new ArgumentException($"a template cannot be given a {value.GetType().Name}", nameof(value)),
    };

    /// <summary>The names and values that a template starts from.</summary>
    public static ScriptObject OfPairs(IEnumerable<KeyValuePair<string, object?>> pairs)
    {
        ArgumentNullException.ThrowIfNull(pairs);
        var made = new ScriptObject(StringComparer.Ordinal);
        foreach (var (name, value) in pairs)
            made.SetValue(name, Of(value)!, readOnly: false);
        return made;
    }

    /// <summary>A JSON value; numbers print as they are written there.</summary>
    public static object? OfJson(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => OfPairs(element.EnumerateObject().Select(member => KeyValuePair.Create(member.Name, OfJson(member.Value)))),
        JsonValueKind.Array => OfList(element.EnumerateArray()),
        JsonValueKind.String => element.GetString(),
        JsonValueKind.Number => WrittenNumber.Of(element.GetRawText()),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => null,
    };

    private static ScriptArray OfList(IEnumerable list)
    {
        var made = new ScriptArray();
        foreach (var value in list)
            made.Add(Of(value)!);
        return made;
    }
}
