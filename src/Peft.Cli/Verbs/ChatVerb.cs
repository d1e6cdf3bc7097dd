using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using CommandLine;
using Peft.Chat;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Recipes;

namespace Peft.Cli.Verbs;

/// <summary>A conversation in the terminal.</summary>
[Verb("chat", HelpText = "Talk to a model or an adapter on it.")]
public sealed class ChatVerb : SamplingVerb, IVerb
{
    private const string Commands =
        "/system TEXT sets the system message, /reset begins anew, /exit ends (or Ctrl-D); Ctrl-C stops an answer; "
        + "// begins a message with one /";

    // Of the terminal's 256 colours, ones that are told apart on dark and light.
    private static readonly int[] Colours = [39, 208, 41, 170, 220, 203, 44, 141, 112, 214, 33, 199];
    private static readonly JsonSerializerOptions Readable =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private int _lastExpert = -1;

    /// <summary>The base model.</summary>
    [Option("model", MetaValue = "DIR", HelpText = "The same as --base.")]
    public string? Model { get; set; }

    /// <summary>The system message.</summary>
    [Option("system", MetaValue = "TEXT", HelpText = "System message to begin with.")]
    public string? System { get; set; }

    /// <inheritdoc/>
    [Option("max-new-tokens", Default = 512, MetaValue = "N", HelpText = "Maximum number of tokens of an answer.")]
    public override int MaxNewTokens { get; set; }

    /// <summary>Shows routing.</summary>
    [Option("show-experts", HelpText =
        "Colour each token by the expert with the largest gates where it was chosen; without colours, name it where "
        + "it changes.")]
    public bool ShowExperts { get; set; }

    /// <summary>Where the conversation goes.</summary>
    [Option("save", MetaValue = "FILE.jsonl", HelpText =
        "Append the conversation to this file at the end, as one line of messages.")]
    public string? Save { get; set; }

    /// <inheritdoc/>
    /// <remarks>Started below, after the options were checked.</remarks>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var faults = new Faults();
        CheckSampling(faults);
        if (Model is not null && Base is not null)
            faults.Add("--model", "given together with --base", "one of the two");
        if (Save is not null && !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(Save))))
            faults.Add($"--save {Save}", "no such folder", "a file in a folder that is there");
        faults.ThrowIfAny();
        Base ??= Model;
        TorchRuntime.Start();
        using var loaded = Load();
        if (ShowExperts && loaded.Adapted?.Options.Router is null)
            throw UserException.At("--show-experts", "a model without a router", "an adapter with method: mixture");
        var template = loaded.TemplateOf(ChatTemplate, "--chat-template");
        using var session = new ChatSession(loaded, template, Sampling(loaded, MaxNewTokens));
        session.SetSystem(System);
        var isStopped = false;
        var isAnswering = false;
        using var signals = new AnswerSignals(() =>
        {
            isStopped = true;
            if (!isAnswering)
                output.Say("\n/exit or Ctrl-D ends");
        });
        if (ShowExperts)
            output.Say("experts: " + string.Join("  ", Enumerable.Range(0, loaded.Adapted!.Options.Experts.Count)
                .Select(expert => Coloured(expert, loaded.Adapted.Options.Experts.NameOf(expert), output))));
        Ask(output);
        foreach (var line in Output.InputLines())
        {
            if (line.Trim().Length > 0)
            {
                if (line[0] == '/' && !line.StartsWith("//", StringComparison.Ordinal))
                {
                    if (!Obey(line.Trim(), session, output))
                        break;
                }
                else
                {
                    (isStopped, isAnswering) = (false, true);
                    Answer(line[0] == '/' ? line[1..] : line, session, loaded, () => isStopped, output);
                    isAnswering = false;
                }
            }

            Ask(output);
        }

        Keep(session);
        return ExitCode.Done;
    }

    private static void Ask(Output output)
    {
        if (!Console.IsInputRedirected)
            output.SayPart("> ");
    }

    // False to end.
    private bool Obey(string line, ChatSession session, Output output)
    {
        var words = line.Split(' ', 2, StringSplitOptions.TrimEntries);
        switch (words[0])
        {
            case "/exit" or "/quit":
                return false;
            case "/help":
                output.Say(Commands);
                break;
            case "/reset":
                Keep(session);
                session.Reset();
                output.Say("(a new conversation)");
                break;
            case "/system":
                session.SetSystem(words.Length > 1 && words[1].Length > 0 ? words[1] : null);
                output.Say(words.Length > 1 ? "(system message set)" : "(no system message)");
                break;
            default:
                output.Say(UserException.At(words[0], "no command", "/help, /system, /reset or /exit").Message);
                break;
        }

        return true;
    }

    private void Answer(string message, ChatSession session, LoadedModel loaded, Func<bool> isStopped, Output output)
    {
        try
        {
            _lastExpert = -1;
            foreach (var piece in session.Answer(message, isStopped))
                output.ResultPart(ShowExperts && piece.Expert is { } expert
                    ? Shown(expert, piece.Text, loaded, output) : piece.Text);
            output.Result("");
            if (session.LeftOutTurns > 0)
                output.Say($"({Words.Count(session.LeftOutTurns, "turn")} left out: the conversation is longer than "
                    + "the context)");
        }
        catch (ChatException error)
        {
            Refuse(error.At("the conversation").ToString(), error, output);
        }
        catch (UserException error)
        {
            Refuse(error.Message, error, output);
        }
    }

    // Whoever types can say it otherwise; a script shall hear of it.
    private static void Refuse(string message, Exception error, Output output)
    {
        if (Console.IsInputRedirected)
            throw new UserException(message, error);
        output.Error(message);
    }

    private string Shown(int expert, string text, LoadedModel loaded, Output output)
    {
        var isNew = expert != _lastExpert;
        _lastExpert = expert;
        return output.ShowsColour ? Coloured(expert, text, output)
            : isNew ? $"[{loaded.Adapted!.Options.Experts.NameOf(expert)}]{text}" : text;
    }

    private static string Coloured(int expert, string text, Output output) => output.ShowsColour
        ? $"\u001b[38;5;{Colours[expert % Colours.Length]}m{text}\u001b[0m"
        : text;

    private void Keep(ChatSession session)
    {
        var messages = session.Conversation.Messages;
        if (Save is null || !messages.Any(message => message.Role == ChatRoles.Assistant))
            return;
        var line = new JsonObject
        {
            ["messages"] = new JsonArray([.. messages.Select(message => JsonObject.Create(message.Json))]),
        };
        var before = File.Exists(Save) ? File.ReadAllText(Save) : "";
        AtomicFile.WriteText(Save, before + line.ToJsonString(Readable) + "\n");
    }
}
