using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Chat;

/// <summary>Makes conversations of what data sets hold: Hugging Face's messages, ShareGPT's, Alpaca's
/// columns.</summary>
public static class ConversationReader
{
    private static readonly JsonSerializerOptions Deep = new() { MaxDepth = 512 };

    // ShareGPT's names, and those that data sets in its form use.
    private static readonly Dictionary<string, string> Roles = new(StringComparer.Ordinal)
    {
        ["human"] = ChatRoles.User, ["user"] = ChatRoles.User, ["gpt"] = ChatRoles.Assistant,
        ["assistant"] = ChatRoles.Assistant, ["model"] = ChatRoles.Assistant, ["chatgpt"] = ChatRoles.Assistant,
        ["bing"] = ChatRoles.Assistant, ["bard"] = ChatRoles.Assistant, ["system"] = ChatRoles.System,
        ["tool"] = ChatRoles.Tool, ["observation"] = ChatRoles.Tool, ["function_response"] = ChatRoles.Tool,
        ["function_call"] = ChatRoles.Assistant,
    };

    /// <summary>A list of messages (role, content), or of ShareGPT's (from, value); also as a text of JSON.</summary>
    /// <param name="list">The column.</param>
    /// <param name="system">A system message before them; null or empty for none.</param>
    /// <exception cref="ChatException">It is no conversation.</exception>
    public static Conversation Read(JsonElement list, string? system = null)
    {
        list = Parsed(list, "the messages", "a list, or JSON of one");
        if (list.ValueKind != JsonValueKind.Array)
            throw new ChatException(null, $"the messages are {Describe(list)}", "a list of messages");
        var messages = list.EnumerateArray().Select((item, at) => Message(item, at + 1)).ToList();
        if (messages.Count == 0)
            throw new ChatException(null, "no messages", "at least one from the user and one from the assistant");
        if (!string.IsNullOrEmpty(system))
            messages.Insert(0, ChatMessage.Of(0, ChatRoles.System, system));
        return new Conversation(messages);
    }

    /// <summary>Alpaca's columns: instruction and input from the user, the output from the assistant.</summary>
    /// <param name="instruction">What is asked.</param>
    /// <param name="input">What it is asked about; null or empty for nothing.</param>
    /// <param name="output">The answer.</param>
    /// <param name="system">A system message; null or empty for none.</param>
    /// <exception cref="ChatException">There is no instruction.</exception>
    public static Conversation OfAlpaca(string instruction, string? input, string output, string? system)
    {
        if (instruction.Length == 0 && string.IsNullOrEmpty(input))
            throw new ChatException(null, "an empty instruction", "a text");
        List<(string, string)> messages = string.IsNullOrEmpty(system) ? [] : [(ChatRoles.System, system)];
        var parts = new[] { instruction, input }.Where(part => !string.IsNullOrEmpty(part));
        messages.Add((ChatRoles.User, string.Join("\n\n", parts)));
        messages.Add((ChatRoles.Assistant, output));
        return Conversation.Of(messages);
    }

    /// <summary>The tools of a row, also as a text of JSON; null for none.</summary>
    /// <exception cref="ChatException">They are no list of descriptions.</exception>
    public static JsonElement? Tools(JsonElement? value)
    {
        if (Given(value) is not { } given)
            return null;
        var tools = Parsed(given, "the tools", "a list, or JSON of one");
        if (tools.ValueKind != JsonValueKind.Array)
            throw new ChatException(null, $"the tools are {Describe(tools)}", "a list of objects");
        foreach (var (at, tool) in tools.EnumerateArray().Index())
        {
            if (tool.ValueKind != JsonValueKind.Object)
                throw new ChatException(null, $"tool {at + 1} is {Describe(tool)}", "an object that describes it");
        }

        return tools.GetArrayLength() == 0 ? null : tools;
    }

    /// <summary>Further variables of the template, also as a text of JSON.</summary>
    /// <param name="value">The column.</param>
    /// <param name="name">Its name, for messages.</param>
    /// <exception cref="ChatException">It is no object, or names what the conversation itself is.</exception>
    public static IReadOnlyDictionary<string, JsonElement> Variables(JsonElement? value, string name)
    {
        const string Expected = "an object of names and values";
        if (Given(value) is not { } given)
            return new Dictionary<string, JsonElement>();
        var variables = Parsed(given, name, $"{Expected}, or JSON of one");
        if (variables.ValueKind != JsonValueKind.Object)
            throw new ChatException(null, $"{name} are {Describe(variables)}", Expected);
        var own = variables.EnumerateObject().Select(item => item.Name)
            .FirstOrDefault(item => ChatTemplate.OwnVariables.Contains(item));
        if (own is not null)
            throw new ChatException(null, $"{Quote.Of(own)} in {name}", "variables other than "
                + Words.AllOf(ChatTemplate.OwnVariables), "the columns of the row say what these are");
        return variables.EnumerateObject().ToDictionary(item => item.Name, item => item.Value);
    }

    private static JsonElement? Given(JsonElement? value) =>
        value is not { ValueKind: not (JsonValueKind.Null or JsonValueKind.Undefined) } given
        || given.ValueKind == JsonValueKind.String && string.IsNullOrWhiteSpace(given.GetString())
            ? null : given;

    private static JsonElement Parsed(JsonElement value, string what, string expected)
    {
        if (value.ValueKind != JsonValueKind.String)
            return value;
        return JsonFile.TryParse<JsonElement>(value.GetString()!, Deep, out var parsed) ? parsed
            : throw new ChatException(null, $"{what} are a text that is not JSON", expected);
    }

    private static ChatMessage Message(JsonElement item, int number)
    {
        if (item.ValueKind != JsonValueKind.Object)
            throw new ChatException(number, Describe(item), "an object with role and content");
        var isShareGpt = !item.TryGetProperty("role", out var role) && item.TryGetProperty("from", out role);
        var name = role.ValueKind == JsonValueKind.String ? role.GetString()! : null;
        if (name is null)
            throw new ChatException(number, "no role", "an object with role and content");
        var known = isShareGpt ? Roles.GetValueOrDefault(name) : ChatRoles.All.FirstOrDefault(one => one == name);
        if (known is null)
            throw new ChatException(number, $"the role {Quote.Of(name)}",
                Words.OneOf(isShareGpt ? [.. Roles.Keys] : ChatRoles.All));
        var message = new JsonObject { ["role"] = known };
        if (isShareGpt)
            Fill(message, item, name, number);
        else
            Fill(message, item);
        Check(message, known, number);
        CheckCalls(message["tool_calls"], number);
        return new ChatMessage(number, known, JsonSerializer.SerializeToElement(message, Deep));
    }

    // What has no value is not there: columns of structs have every name in every message.
    private static void Fill(JsonObject message, JsonElement item)
    {
        foreach (var part in item.EnumerateObject().Where(part => part.Name != "role"))
        {
            if (part.Value.ValueKind != JsonValueKind.Null || part.Name == "content")
                message[part.Name] = JsonSerializer.SerializeToNode(part.Value, Deep);
        }

        if (message["tool_calls"] is JsonArray { Count: 0 })
            message.Remove("tool_calls");
    }

    private static void Fill(JsonObject message, JsonElement item, string from, int number)
    {
        var text = item.TryGetProperty("value", out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : throw new ChatException(number, "no text under value", "an object with from and value");
        if (from != "function_call")
        {
            message["content"] = text;
            return;
        }

        if (!JsonFile.TryParse<JsonElement>(text, Deep, out var call) || call.ValueKind != JsonValueKind.Object
            || !call.TryGetProperty("name", out _))
            throw new ChatException(number, $"a function_call of {Quote.Of(text)}",
                "JSON of an object with name and arguments");
        message["content"] = "";
        message["tool_calls"] = new JsonArray(
            new JsonObject { ["type"] = "function", ["function"] = JsonSerializer.SerializeToNode(call, Deep) });
    }

    private static void Check(JsonObject message, string role, int number)
    {
        switch (message["content"])
        {
            case JsonValue text when text.GetValueKind() == JsonValueKind.String:
                return;
            case null when role == ChatRoles.Assistant && message["tool_calls"] is JsonArray:
                message["content"] ??= null;
                return;
            case null:
                throw new ChatException(number, "no content", "a text, or a list of parts");
            case JsonArray parts:
                foreach (var part in parts)
                    CheckPart(part, number);
                return;
            case { } other:
                throw new ChatException(
                    number, $"content that is {Describe(JsonSerializer.SerializeToElement(other))}",
                    "a text, or a list of parts");
        }
    }

    private static void CheckCalls(JsonNode? calls, int number)
    {
        const string Expected = "calls such as {type: function, function: {name: ..., arguments: ...}}";
        if (calls is null)
            return;
        if (calls is not JsonArray list)
            throw new ChatException(
                number, $"tool_calls that are {Describe(JsonSerializer.SerializeToElement(calls))}",
                $"a list of {Expected}");
        foreach (var call in list)
        {
            // Some data sets leave out the level `function`.
            var named = (call as JsonObject)?["function"] as JsonObject ?? call as JsonObject;
            if (named?["name"]?.GetValueKind() != JsonValueKind.String)
                throw new ChatException(number, "a tool call without a name", Expected);
        }
    }

    private static void CheckPart(JsonNode? part, int number)
    {
        var kind = (part as JsonObject)?["type"]?.ToString();
        if (kind is null)
            throw new ChatException(number, "a part without a type", "parts such as {type: text, text: ...}");
        if (kind != "text")
            throw new ChatException(number, $"a part of type {Quote.Of(kind)}", "text",
                "the models here read nothing else: leave the row out with `filter:`");
        if (part!["text"]?.GetValueKind() != JsonValueKind.String)
            throw new ChatException(number, "a part without text", "parts such as {type: text, text: ...}");
    }

    private static string Describe(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => "a text",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "true or false",
        JsonValueKind.Array => "a list",
        JsonValueKind.Object => "an object",
        _ => "null",
    };
}
