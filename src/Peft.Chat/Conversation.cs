using System.Text.Json;
using System.Text.Json.Nodes;

namespace Peft.Chat;

/// <summary>The roles that a message may have.</summary>
public static class ChatRoles
{
    /// <summary>What holds for the whole conversation.</summary>
    public const string System = "system";

    /// <summary>The person.</summary>
    public const string User = "user";

    /// <summary>The model.</summary>
    public const string Assistant = "assistant";

    /// <summary>What a tool gave back.</summary>
    public const string Tool = "tool";

    /// <summary>Newer name of <see cref="System"/>.</summary>
    public const string Developer = "developer";

    /// <summary>All of them.</summary>
    public static IReadOnlyList<string> All { get; } = [System, Developer, User, Assistant, Tool];
}

/// <summary>One message of a conversation.</summary>
/// <param name="Number">Its place in the data, from 1; it stays when messages before it are left out.</param>
/// <param name="Role">Its role, one of <see cref="ChatRoles"/>.</param>
/// <param name="Json">The message as templates see it.</param>
public sealed record ChatMessage(int Number, string Role, JsonElement Json)
{
    /// <summary>A message of plain text.</summary>
    public static ChatMessage Of(int number, string role, string content) => new(
        number, role, JsonSerializer.SerializeToElement(new JsonObject { ["role"] = role, ["content"] = content }));

    /// <summary>Whether the message has a value under a name.</summary>
    public bool Has(string name) => Json.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null;

    /// <summary>Its text; parts joined.</summary>
    public string Text => !Json.TryGetProperty("content", out var content) ? ""
        : content.ValueKind == JsonValueKind.String ? content.GetString()!
        : content.ValueKind == JsonValueKind.Array
            ? string.Concat(content.EnumerateArray().Select(part => part.GetProperty("text").GetString()))
        : "";

    /// <summary>The same message with one value exchanged; null takes it away.</summary>
    internal ChatMessage With(string name, JsonNode? value)
    {
        var changed = JsonObject.Create(Json)!;
        changed.Remove(name);
        if (value is not null)
            changed[name] = value;
        return this with { Json = JsonSerializer.SerializeToElement(changed) };
    }
}

/// <summary>Messages in their order, and what else a template may be given.</summary>
/// <param name="Messages">The messages.</param>
public sealed record Conversation(IReadOnlyList<ChatMessage> Messages)
{
    /// <summary>Descriptions of the tools that the model may call; null for none.</summary>
    public JsonElement? Tools { get; init; }

    /// <summary>Further variables of the template, by name.</summary>
    public IReadOnlyDictionary<string, JsonElement> Variables { get; init; } = new Dictionary<string, JsonElement>();

    /// <summary>A conversation of plain texts.</summary>
    public static Conversation Of(params IEnumerable<(string Role, string Content)> messages) =>
        new([.. messages.Select((message, at) => ChatMessage.Of(at + 1, message.Role, message.Content))]);

    /// <summary>Where each turn begins: a user's message that does not follow another one. What stands before the first
    /// of them and is no system message belongs to it.</summary>
    public IReadOnlyList<int> Turns
    {
        get
        {
            var turns = new List<int>();
            for (var at = HeadLength; at < Messages.Count; at++)
            {
                if (at == HeadLength || Messages[at].Role == ChatRoles.User && Messages[at - 1].Role != ChatRoles.User
                    && Messages.Take(at).Any(message => message.Role == ChatRoles.User))
                    turns.Add(at);
            }

            return turns;
        }
    }

    /// <summary>The same without its first turns; system messages at its beginning stay.</summary>
    public Conversation Without(int turns) => turns == 0 ? this
        : this with { Messages = [.. Messages.Take(HeadLength), .. Messages.Skip(Turns[turns])] };

    // System messages at the beginning.
    private int HeadLength =>
        Messages.TakeWhile(message => message.Role is ChatRoles.System or ChatRoles.Developer).Count();
}

/// <summary>What is wrong with a conversation, or with a template and a conversation together.</summary>
/// <param name="message">Number of the message, from 1; null where it is the conversation.</param>
/// <param name="found">What was found.</param>
/// <param name="expected">What should be there.</param>
/// <param name="advice">What to do.</param>
public sealed class ChatException(int? message, string found, string? expected = null, string? advice = null)
    : Exception
{
    /// <inheritdoc/>
    public override string Message => At("conversation").ToString();

    /// <summary>The fault in the house's form.</summary>
    /// <param name="place">Where the conversation is.</param>
    public Formats.Fault At(string place) =>
        new(message is null ? place : $"{place}, message {message}", found, expected, advice);
}
