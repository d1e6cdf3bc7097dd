using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using CommandLine;
using Peft.Adapters.Lora;
using Peft.Chat;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Recipes;

namespace Peft.Cli.Verbs;

/// <summary>Text from a model.</summary>
[Verb("generate", HelpText = "Continue prompts with a model or an adapter on it.")]
public sealed class GenerateVerb : SamplingVerb, IVerb
{
    private const string Stdin = "-";
    private static readonly JsonSerializerOptions Readable =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private ChatTemplate? _template;
    private AnswerFrame _frame = AnswerFrame.None;
    private Rewiring? _rewiring;
    private GenerationOptions _sampling = new();

    /// <summary>The prompt.</summary>
    [Option("prompt", MetaValue = "TEXT", HelpText =
        "The text to continue; '-' reads one prompt a line from standard input.")]
    public string? Prompt { get; set; }

    /// <summary>Standard input.</summary>
    [Value(0, MetaName = "-", HelpText = "Read prompts from standard input, one a line.")]
    public string? Input { get; set; }

    /// <summary>Output for programs.</summary>
    [Option("jsonl", HelpText = "Print each prompt and its answer as one line of JSON.")]
    public bool Jsonl { get; set; }

    /// <summary>Longest continuation.</summary>
    [Option("max-new-tokens", Default = 128, MetaValue = "N", HelpText = "Maximum number of new tokens.")]
    public override int MaxNewTokens { get; set; }

    /// <summary>Puts prompts as messages.</summary>
    [Option("apply-chat-template", HelpText = "Put each prompt as a user's message, through the chat template.")]
    public bool ApplyChatTemplate { get; set; }

    /// <summary>Fits routers to the text.</summary>
    [Option("rewire", MetaValue = "default|K=V,...", HelpText =
        "Fit the routers of a mixture to each prompt, and anew as the text grows: " + RewiringOptions.Words + ".")]
    public string? Rewire { get; set; }

    /// <summary>Leaves the prompt out.</summary>
    [Option("no-prompt", HelpText =
        "Print the continuation only (with --jsonl, the answer without its prompt).")]
    public bool NoPrompt { get; set; }

    /// <inheritdoc/>
    /// <remarks>Started below, after the options were checked.</remarks>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var faults = new Faults();
        CheckSampling(faults);
        if (ChatTemplate is not null && !ApplyChatTemplate)
            faults.Add("--chat-template", Quote.Of(ChatTemplate), "--apply-chat-template with it");
        if (Input is not (null or Stdin))
            faults.Add("peft generate", $"{Quote.Of(Input)} is one word too many",
                "--prompt TEXT, or '-' for prompts from standard input", "put quotes around a prompt of several words");
        else if (Prompt is null == Input is null)
            faults.Add(
                "--prompt", Prompt is null ? "missing" : "given together with '-'",
                "--prompt TEXT, or '-' for prompts from standard input");
        faults.ThrowIfAny();
        var options = Rewire is null ? null : RewiringOptions.Parse(Rewire, "--rewire");
        TorchRuntime.Start();
        using var loaded = Load();
        using var rewiring = options is null ? null : loaded.Rewired(options);
        _rewiring = rewiring;
        _sampling = Sampling(loaded, MaxNewTokens);
        if (ApplyChatTemplate)
        {
            _template = loaded.TemplateOf(ChatTemplate, "--chat-template");
            _frame = AnswerFrame.Of(_template, loaded.Encoder);
        }

        if (Input is null && Prompt != Stdin)
        {
            Continue(loaded, Prompt!, "--prompt", output);
            return ExitCode.Done;
        }
        foreach (var (i, line) in Output.InputLines().Index())
        {
            var place = $"standard input line {i + 1}";
            if (line.Length > 0)
                Continue(loaded, line, place, output);
            else
                Skip(place, output);
        }
        return ExitCode.Done;
    }

    // A line that is left empty is hardly a prompt; its answer is empty, so that lines still stand opposite each other.
    private void Skip(string place, Output output)
    {
        output.Say($"{place}: empty; nothing was generated for it");
        output.Result(Jsonl ? JsonLine("", "") : "");
    }

    private void Continue(LoadedModel loaded, string text, string place, Output output)
    {
        var encoder = loaded.Encoder.WithEnds(_frame.EndIds);
        var prompt = Encode(encoder, loaded.Model, Asked(text, place), place);
        var options = _sampling with { EosTokenIds = encoder.Ends };
        // Checks the ids: nothing is printed before a refusal.
        var continuation = _rewiring is { } rewiring
            ? rewiring.Generate(prompt.Ids, options) : TextGeneration.Generate(loaded.Model, prompt.Ids, options);
        if (!NoPrompt && !Jsonl)
            output.ResultPart(text);
        var answer = new StringBuilder();
        Action<string> write = Jsonl ? piece => answer.Append(piece) : output.ResultPart;
        var decoder = loaded.Tokenizer.NewDecoder(skipSpecialTokens: true);
        foreach (var id in prompt.Ids)
            decoder.Append(id);
        var held = prompt.HeldBack;
        var written = new AnswerText(_frame);
        foreach (var id in continuation.TakeWhile(id => !encoder.Ends.Contains(id)))
        {
            write(written.Add(EncodedPrompt.Continuation(decoder.Append(id), ref held)));
            if (written.IsEnded)
                break;
        }

        write(written.IsEnded ? "" : written.Add(EncodedPrompt.Continuation(decoder.Flush(), ref held)));
        write(written.Rest());
        output.Result(Jsonl ? JsonLine(text, answer.ToString()) : "");
    }

    private string Asked(string text, string place)
    {
        try
        {
            return _template?.Render(Conversation.Of((ChatRoles.User, text)), asks: true).Text ?? text;
        }
        catch (ChatException error)
        {
            throw new UserException(error.At(place).ToString(), error);
        }
    }

    // Letters stay readable: the line is for files, not for web pages.
    private string JsonLine(string prompt, string answer)
    {
        var line = new Dictionary<string, string>();
        if (!NoPrompt)
            line["prompt"] = prompt;
        line["answer"] = answer;
        return JsonSerializer.Serialize(line, Readable);
    }
}
