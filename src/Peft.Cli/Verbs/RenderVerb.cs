using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Jinja;

namespace Peft.Cli.Verbs;

/// <summary>Renders chat templates, so that other implementations can be compared with ours.</summary>
[Verb("render", HelpText = "Render conversations from standard input, as transformers does.")]
public sealed class RenderVerb : IVerb
{
    private static readonly JsonSerializerOptions Reading = new() { MaxDepth = 512 };
    private static readonly JsonSerializerOptions Writing =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    // The variables that a request gives; the first three are None when it does not.
    private static readonly string[] Requested = ["messages", "tools", "documents", "add_generation_prompt"];
    private static readonly string[] Known = [.. Requested, "special_tokens", "kwargs", "now"];

    /// <summary>A template file.</summary>
    [Option("template", MetaValue = "FILE", HelpText = "File of a chat template in Jinja.")]
    public string? Template { get; set; }

    /// <summary>A directory that has one.</summary>
    [Option("tokenizer", MetaValue = "DIR", HelpText =
        "Directory of a chat template and the special tokens that it names.")]
    public string? Tokenizer { get; set; }

    /// <summary>Which of several.</summary>
    [Option("name", MetaValue = "NAME", HelpText =
        "Which template of --tokenizer, if it has several (default: tool_use with tools, else default).")]
    public string? Name { get; set; }

    /// <summary>A request a line.</summary>
    [Option("jsonl", HelpText =
        "Read one JSON object per line (messages, tools, documents, add_generation_prompt, special_tokens, kwargs, "
        + "now) "
        + "and write one per line: text and spans of {% generation %} in code points, or error.")]
    public bool JsonLines { get; set; }

    /// <inheritdoc/>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        if ((Template is null) == (Tokenizer is null))
            throw UserException.At("render", Template is null ? "no template" : "two templates",
                "one of --template FILE and --tokenizer DIR");
        if (Name is not null && Tokenizer is null)
            throw UserException.At("--name", Quote.Of(Name), "--tokenizer DIR with it",
                "a template file has one template");
        var templates = Tokenizer is null ? null : ChatTemplates.Read(Tokenizer);
        var source = Template is null ? null : ChatTemplates.ReadFile(Template);
        var tokens = templates?.SpecialTokens ?? new Dictionary<string, string>();
        if (JsonLines)
        {
            foreach (var (index, line) in Output.InputLines().Index())
                output.Result(
                    Answer(Request($"standard input line {index + 1}", line), source, templates,
                    tokens).ToJsonString(Writing));
            return ExitCode.Done;
        }

        var request = Request("standard input", string.Join('\n', Output.InputLines()));
        try
        {
            output.ResultPart(Rendered(request, source, templates, tokens).Text);
        }
        catch (JinjaException error)
        {
            var place = $"{Template ?? Tokenizer}{(error.Line > 0 ? $", line {error.Line} of the template" : "")}";
            throw UserException.At(place,
                error.Kind == JinjaErrorKind.Raised ? $"the template refuses the conversation: {error.Message}"
                : error.Message, inner: error);
        }

        return ExitCode.Done;
    }

    private JsonObject Answer(JsonElement request, string? source, ChatTemplates? templates,
        IReadOnlyDictionary<string, string> tokens)
    {
        try
        {
            var result = Rendered(request, source, templates, tokens);
            var spans = CodePoints(result).Select(span => (JsonNode)new JsonArray(span.Start, span.End));
            return new JsonObject { ["text"] = result.Text, ["spans"] = new JsonArray([.. spans]) };
        }
        catch (JinjaException error)
        {
            return new JsonObject { ["error"] = error.Message };
        }
    }

    private Rendering Rendered(JsonElement request, string? source, ChatTemplates? templates,
        IReadOnlyDictionary<string, string> tokens)
    {
        var hasTools = request.TryGetProperty("tools", out var tools) && tools.ValueKind != JsonValueKind.Null;
        var template = JinjaTemplate.Parse(source ?? templates!.Choose(Name, hasTools));
        var variables = new Dictionary<string, JsonElement>(StringComparer.Ordinal);
        foreach (var (name, token) in tokens)
            variables[name] = JsonSerializer.SerializeToElement(token);
        AddAll(variables, request, "special_tokens");
        foreach (var name in Requested)
            variables[name] = request.TryGetProperty(name, out var value) ? value
                : JsonSerializer.SerializeToElement<object?>(name == "add_generation_prompt" ? false : null);
        AddAll(variables, request, "kwargs");
        return template.Render(variables, Now(request));
    }

    private static void AddAll(Dictionary<string, JsonElement> variables, JsonElement request, string key)
    {
        if (!request.TryGetProperty(key, out var values) || values.ValueKind == JsonValueKind.Null)
            return;
        foreach (var value in values.EnumerateObject())
        {
            // A special token that is null is not set.
            if (key == "special_tokens" && value.Value.ValueKind == JsonValueKind.Null)
                variables.Remove(value.Name);
            else
                variables[value.Name] = value.Value;
        }
    }

    private static DateTime Now(JsonElement request) =>
        !request.TryGetProperty("now", out var now) || now.ValueKind == JsonValueKind.Null
        ? TimeProvider.System.GetLocalNow().DateTime
        : DateTime.Parse(now.GetString()!, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);

    private static JsonElement Request(string place, string line)
    {
        var isJson = JsonFile.TryParse<JsonElement>(line, Reading, out var request);
        // As transformers takes a conversation: the messages alone.
        if (isJson && request.ValueKind == JsonValueKind.Array)
            request = JsonSerializer.SerializeToElement(new { messages = request });
        if (!isJson || request.ValueKind != JsonValueKind.Object)
            throw UserException.At(place, "no JSON object or list", "an object with messages, or a list of messages",
                "write one conversation a line with --jsonl");
        var faults = new Faults();
        foreach (var item in request.EnumerateObject().Where(item => !Known.Contains(item.Name)))
            faults.Add(place, $"unknown key {Quote.Of(item.Name)}", Words.OneOf(Known),
                "put variables of the template into kwargs");
        foreach (var key in new[] { "special_tokens", "kwargs" })
        {
            if (request.TryGetProperty(key, out var values) && values.ValueKind
                is not (JsonValueKind.Object or JsonValueKind.Null))
                faults.Add($"{place}, {key}", "no object", "an object of names and values");
        }

        if (request.TryGetProperty("now", out var now) && now.ValueKind != JsonValueKind.Null
            && !(now.ValueKind == JsonValueKind.String
            && DateTime.TryParse(now.GetString(), CultureInfo.InvariantCulture, out _)))
            faults.Add($"{place}, now", now.ToString(), "a time such as 2025-03-09T14:05:06");
        faults.ThrowIfAny(place);
        return request;
    }

    private static IEnumerable<(int Start, int End)> CodePoints(Rendering result)
    {
        var (unit, point) = (0, 0);
        int Place(int wanted)
        {
            if (wanted < unit)
                (unit, point) = (0, 0);
            for (; unit < wanted; point++)
                unit += char.IsSurrogatePair(result.Text, unit) ? 2 : 1;
            return point;
        }

        foreach (var (start, end) in result.Generated)
            yield return (Place(start), Place(end));
    }
}
