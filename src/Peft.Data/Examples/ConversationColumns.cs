using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Chat;
using Peft.Data.Tables;
using Peft.Formats;
using Peft.Formats.Templates;
using Scriban.Runtime;

namespace Peft.Data.Examples;

/// <summary>The columns that hold conversations.</summary>
internal static class ConversationColumns
{
    private const string Tools = "tools";
    private const string System = "system";
    private const string Variables = "chat_template_kwargs";
    private static readonly string[] Lists = ["messages", "conversations"];

    /// <summary>All columns that a shape may use.</summary>
    public static IReadOnlyList<string> Of(RowShape shape) => shape == RowShape.Alpaca
        ? ["instruction", "input", "output", System, Tools, Variables]
        : [.. Lists, System, Tools, Variables];

    /// <summary>The shape that columns show; null where they show none.</summary>
    public static RowShape? Recognised(IReadOnlyCollection<string> columns) =>
        columns.Contains("messages") ? RowShape.Messages
        : columns.Contains("conversations") ? RowShape.ShareGpt
        : columns.Contains("instruction") && columns.Contains("output") ? RowShape.Alpaca
        : null;

    /// <summary>What a shape needs and a file lacks; null where it has all.</summary>
    public static string? Missing(RowShape shape, IReadOnlyCollection<string> columns) => shape != RowShape.Alpaca
        ? columns.Intersect(Lists).Any() ? null : shape == RowShape.Messages ? Lists[0] : Lists[1]
        : new[] { "instruction", "output" }.FirstOrDefault(name => !columns.Contains(name));

    /// <summary>The conversation of a row.</summary>
    /// <param name="shape">What the row is.</param>
    /// <param name="row">Its values by column.</param>
    /// <param name="isParquet">Whether lists of structs have every name in every item.</param>
    /// <exception cref="ChatException">It is none.</exception>
    public static Conversation Read(RowShape shape, ScriptObject row, bool isParquet)
    {
        var system = TextOf(row, System);
        var made = shape == RowShape.Alpaca
            ? ConversationReader.OfAlpaca(
                TextOf(row, "instruction") ?? throw Missing("instruction"), TextOf(row, "input"),
                TextOf(row, "output") ?? throw Missing("output"), system)
            : ConversationReader.Read(ListOf(shape, row, isParquet), system);
        return made with
        {
            Tools = ConversationReader.Tools(JsonOf(row, Tools, isParquet)),
            Variables = ConversationReader.Variables(JsonOf(row, Variables, isParquet), Variables),
        };
    }

    private static JsonElement ListOf(RowShape shape, ScriptObject row, bool isParquet)
    {
        var names = shape == RowShape.Messages ? Lists : Lists.Reverse();
        foreach (var name in names)
        {
            if (JsonOf(row, name, isParquet) is { ValueKind: not JsonValueKind.Null } list)
                return list;
        }

        throw Missing(names.First());
    }

    private static ChatException Missing(string name) => new(null, $"column {Quote.Of(name)} has no value", "a value");

    private static string? TextOf(ScriptObject row, string name) => !row.TryGetValue(name, out var value) ? null
        : value switch
        {
            null => null,
            string text => text,
            ScriptObject or ScriptArray => throw new ChatException(
                null, $"column {Quote.Of(name)} holds a {(value is ScriptArray ? "list" : "section")}", "a text"),
            _ => Convert.ToString(value, CultureInfo.InvariantCulture),
        };

    private static JsonElement? JsonOf(ScriptObject row, string name, bool isParquet) =>
        row.TryGetValue(name, out var value) ? JsonSerializer.SerializeToElement(Node(value, isParquet)) : null;

    private static JsonNode? Node(object? value, bool isParquet) => value switch
    {
        null => null,
        string text => JsonValue.Create(text),
        bool truth => JsonValue.Create(truth),
        ScriptArray list => new JsonArray([.. list.Select(item => Node(item, isParquet))]),
        ScriptObject map => new JsonObject(map
            .Where(item => !isParquet || item.Value is not null)
            .Select(item => KeyValuePair.Create(item.Key, Node(item.Value, isParquet)))),
        WrittenNumber number => Number(number.Text),
        _ => Number(Convert.ToString(value, CultureInfo.InvariantCulture)!),
    };

    // What JSON cannot write as a number (nan) is a text.
    private static JsonNode? Number(string text)
    {
        try
        {
            return JsonNode.Parse(text);
        }
        catch (JsonException)
        {
            return JsonValue.Create(text);
        }
    }
}
