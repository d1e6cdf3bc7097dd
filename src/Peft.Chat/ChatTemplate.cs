using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Jinja;

namespace Peft.Chat;

/// <summary>A chat template with the special tokens that it names: conversations in, texts out.</summary>
/// <remarks>Source: transformers, <c>apply_chat_template</c>.</remarks>
public sealed class ChatTemplate
{
    private readonly JinjaTemplate _template;
    private readonly Dictionary<string, JsonElement> _tokens;
    private readonly Lazy<bool> _knowsParts;
    private readonly Lazy<bool> _beginsUnasked;

    private ChatTemplate(
        JinjaTemplate template, string source, string name, IReadOnlyDictionary<string, string> tokens)
    {
        (_template, Source, Name) = (template, source, name);
        _tokens = tokens.ToDictionary(
            token => token.Key, token => JsonSerializer.SerializeToElement(token.Value), StringComparer.Ordinal);
        (_knowsParts, _beginsUnasked) = (new(FindKnowsParts), new(FindBeginsUnasked));
    }

    /// <summary>Variables that say what the conversation is and what is asked of it.</summary>
    public static IReadOnlyList<string> OwnVariables { get; } = ["messages", "tools", "add_generation_prompt"];

    /// <summary>The day that <c>strftime_now</c> tells: one and the same, so that a run that is resumed tomorrow meets
    /// the texts it met today. It is the day that Llama's templates name where they are told none.</summary>
    public static DateTime Day { get; } = new(2024, 7, 26, 0, 0, 0, DateTimeKind.Unspecified);

    /// <summary>The template as written.</summary>
    public string Source { get; }

    /// <summary>What messages call it.</summary>
    public string Name { get; }

    /// <summary>Whether it marks what the assistant says with <c>{% generation %}</c>.</summary>
    public bool MarksAnswers => _template.HasGeneration;

    /// <summary>Whether it writes the beginning of a further answer behind every conversation, asked or not, as Llama
    /// 3's first one did: nobody can say where its last message ends.</summary>
    public bool BeginsUnasked => _beginsUnasked.Value;

    /// <summary>The template that is taken for conversations with tools; null for this one.</summary>
    public ChatTemplate? ToolUse { get; private init; }

    /// <summary>Reads a template.</summary>
    /// <param name="source">The template.</param>
    /// <param name="name">What messages call it.</param>
    /// <param name="tokens">The special tokens by name, such as <c>eos_token</c>.</param>
    /// <param name="toolUse">The template that is taken for conversations with tools; null for the same.</param>
    /// <exception cref="UserException">It is not Jinja.</exception>
    public static ChatTemplate Parse(
        string source, string name, IReadOnlyDictionary<string, string> tokens, ChatTemplate? toolUse = null)
    {
        try
        {
            return new ChatTemplate(JinjaTemplate.Parse(source), source, name, tokens) { ToolUse = toolUse };
        }
        catch (JinjaException error)
        {
            throw UserException.At(
                $"{name}{(error.Line > 0 ? $", line {error.Line}" : "")}", error.Message.TrimEnd('.'),
                "a chat template in Jinja", null, error);
        }
    }

    /// <summary>The text of a conversation.</summary>
    /// <param name="conversation">The conversation.</param>
    /// <param name="asks">Whether the beginning of the assistant's next message is written
    /// (<c>add_generation_prompt</c>).</param>
    /// <param name="count">How many of its messages; null for all.</param>
    /// <param name="day">What <c>strftime_now</c> tells; null for <see cref="Day"/>.</param>
    /// <exception cref="ChatException">The template refuses it or cannot be carried out on it.</exception>
    public Rendering Render(Conversation conversation, bool asks, int? count = null, DateTime? day = null)
    {
        if (ToolUse is not null && conversation.Tools is not null)
            return ToolUse.Render(conversation, asks, count, day);
        try
        {
            return Write(conversation, asks, count ?? conversation.Messages.Count, day);
        }
        catch (JinjaException error)
        {
            throw new ChatException(
                // Beginnings would reach the limit as well, each in its time.
                error.Kind == JinjaErrorKind.Limit ? null : Culprit(conversation, count ?? conversation.Messages.Count),
                error.Kind == JinjaErrorKind.Raised
                    ? $"the chat template refuses the conversation: {error.Message}"
                    : $"the chat template fails: {error.Message}",
                null,
                "correct the messages, or choose another template with `chat_template:`");
        }
    }

    /// <summary>Refuses calls and results of tools that the template does not write.</summary>
    /// <exception cref="ChatException">There are some.</exception>
    public void RequireTools(Conversation conversation)
    {
        const string Expected = "a chat template that knows tools";
        const string Advice = "set `chat_template:` to one, or leave the row out with `filter:`";
        if (conversation.Tools is null
            && !conversation.Messages.Any(one => one.Role == ChatRoles.Tool || one.Has("tool_calls")))
            return;
        // A template without tools may stumble over a call without content before it leaves the call out.
        if (TextOf(conversation) is null)
            conversation = conversation with
            {
                Messages = [.. conversation.Messages.Select(one => one.Has("content") ? one : one.With("content", ""))],
            };
        if (TextOf(conversation) is not { } whole)
            return; // whoever renders it hears why
        var messages = conversation.Messages;
        foreach (var (at, message) in messages.Index())
        {
            if (message.Has("tool_calls") && IsSame(Exchanged(at, message.With("tool_calls", null))))
                throw new ChatException(message.Number, "tool calls, which the template does not write", Expected,
                    Advice);
            if (message.Role == ChatRoles.Tool
                && IsSame(Exchanged(at, message.With("content", message.Text + "\u2021"))))
                throw new ChatException(message.Number, "the result of a tool, which the template does not write",
                    Expected, Advice);
        }

        if (conversation.Tools is not null && IsSame(conversation with { Tools = null }))
            throw new ChatException(null, "tools, which the template does not write", Expected, Advice);

        Conversation Exchanged(int at, ChatMessage changed) => conversation with
        {
            Messages = [.. messages.Take(at), changed, .. messages.Skip(at + 1)],
        };

        bool IsSame(Conversation other) => TextOf(other) == whole;
    }

    // Null where the template refuses it.
    private string? TextOf(Conversation conversation)
    {
        try
        {
            return Render(conversation, asks: false).Text;
        }
        catch (ChatException)
        {
            return null;
        }
    }

    private Rendering Write(Conversation conversation, bool asks, int count, DateTime? day)
    {
        var variables = new Dictionary<string, JsonElement>(_tokens, StringComparer.Ordinal)
        {
            ["messages"] = JsonSerializer.SerializeToElement(
                conversation.Messages.Take(count).Select(message => Fitting(message).Json)),
            ["tools"] = conversation.Tools ?? JsonSerializer.SerializeToElement<object?>(null),
            ["documents"] = JsonSerializer.SerializeToElement<object?>(null),
            ["add_generation_prompt"] = JsonSerializer.SerializeToElement(asks),
        };
        foreach (var (name, value) in conversation.Variables)
            variables[name] = value;
        return _template.Render(variables, day ?? Day);
    }

    // Parts of text are one text for a template that knows no parts.
    private ChatMessage Fitting(ChatMessage message) =>
        message.Json.TryGetProperty("content", out var content) && content.ValueKind == JsonValueKind.Array
            && !_knowsParts.Value
        ? message.With("content", message.Text)
        : message;

    private bool FindKnowsParts()
    {
        var parts = new JsonArray(
            new JsonObject { ["type"] = "text", ["text"] = "Aa1" },
            new JsonObject { ["type"] = "text", ["text"] = "Bb2" });
        var messages = JsonSerializer.SerializeToElement(
            new JsonArray(new JsonObject { ["role"] = ChatRoles.User, ["content"] = parts }));
        try
        {
            var variables = new Dictionary<string, JsonElement>(_tokens, StringComparer.Ordinal)
            {
                ["messages"] = messages,
                ["add_generation_prompt"] = JsonSerializer.SerializeToElement(false),
            };
            var text = _template.Render(variables, Day).Text;
            return text.Contains("Aa1", StringComparison.Ordinal) && text.Contains("Bb2", StringComparison.Ordinal)
                && !text.Contains("'type'", StringComparison.Ordinal)
                && !text.Contains("\"type\"", StringComparison.Ordinal);
        }
        catch (JinjaException)
        {
            return false;
        }
    }

    // What ends a question ends its answer too, and gives way when another question follows.
    private bool FindBeginsUnasked()
    {
        (string, string)[] talk =
            [(ChatRoles.User, "Hello"), (ChatRoles.Assistant, "Answer"), (ChatRoles.User, "Question")];
        List<string?> texts =
            [.. Enumerable.Range(1, talk.Length).Select(count => TextOf(Conversation.Of(talk.Take(count))))];
        if (texts is not [{ } asked, { } answered, { } further]
            || !answered.StartsWith(asked, StringComparison.Ordinal))
            return false;
        var extra = answered[answered.AsSpan().CommonPrefixLength(further)..];
        return extra.Length > 0 && asked.EndsWith(extra, StringComparison.Ordinal);
    }

    // The message behind the longest beginning that the template takes.
    private int? Culprit(Conversation conversation, int count)
    {
        for (var taken = count - 1; taken > 0; taken--)
        {
            try
            {
                Write(conversation, asks: false, taken, null);
                return conversation.Messages[taken].Number;
            }
            catch (JinjaException)
            {
                // a shorter beginning may do
            }
        }

        return count > 0 ? conversation.Messages[0].Number : null;
    }
}
