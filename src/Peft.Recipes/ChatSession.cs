using Peft.Adapters.Routing;
using Peft.Chat;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Models;

namespace Peft.Recipes;

/// <summary>A piece of an answer, as soon as it is written.</summary>
/// <param name="Text">The text.</param>
/// <param name="Expert">The expert with the largest sum of gates where its token was chosen; null without
/// experts.</param>
public readonly record struct ChatPiece(string Text, int? Expert);

/// <summary>
/// A conversation with a model. Keys and values stay from turn to turn where the text goes on from what they are of;
/// a conversation that outgrows the context loses whole turns from the front, as in training.
/// </summary>
public sealed class ChatSession : IDisposable
{
    private readonly LoadedModel _loaded;
    private readonly ChatTemplate _template;
    private readonly GenerationOptions _options;
    private readonly TextEncoder _encoder;
    private readonly AnswerFrame _frame;
    private readonly List<ChatMessage> _messages = [];
    private readonly List<int> _seen = []; // ids that the cache holds
    private float[] _logits = [];
    private KeyValueCache? _cache;
    private int _answers;

    /// <summary>Begins a conversation.</summary>
    /// <param name="loaded">The model; the caller's to free.</param>
    /// <param name="template">Its chat template.</param>
    /// <param name="options">How answers are chosen; ends of a text are added to them.</param>
    public ChatSession(LoadedModel loaded, ChatTemplate template, GenerationOptions options)
    {
        (_loaded, _template, _options) = (loaded, template, options);
        _encoder = loaded.Encoder;
        _frame = AnswerFrame.Of(template, _encoder);
    }

    /// <summary>Tokens of the last question that keys and values were there for already.</summary>
    public int ReusedTokens { get; private set; }

    /// <summary>Turns that did not fit the context when the last answer was written.</summary>
    public int LeftOutTurns { get; private set; }

    /// <summary>The conversation so far.</summary>
    public Conversation Conversation => new([.. _messages]);

    /// <summary>Begins anew; the system message stays.</summary>
    public void Reset() => _messages.RemoveAll(message => message.Role != ChatRoles.System);

    /// <summary>Sets the system message; null takes it away.</summary>
    public void SetSystem(string? text)
    {
        _messages.RemoveAll(message => message.Role == ChatRoles.System);
        if (text is not null)
            _messages.Insert(0, ChatMessage.Of(0, ChatRoles.System, text));
    }

    /// <summary>Answers a message; both are part of the conversation when all pieces were taken, or none is where the
    /// template refuses.</summary>
    /// <param name="message">What the user says.</param>
    /// <param name="isStopped">Asked before each token whether to stop; what is written stays.</param>
    /// <exception cref="ChatException">The template refuses the conversation.</exception>
    /// <exception cref="UserException">The message does not fit the context.</exception>
    public IEnumerable<ChatPiece> Answer(string message, Func<bool> isStopped)
    {
        _messages.Add(ChatMessage.Of(_messages.Count + 1, ChatRoles.User, message));
        EncodedPrompt prompt;
        try
        {
            prompt = Prompt();
        }
        catch (Exception error) when (error is ChatException or UserException)
        {
            _messages.RemoveAt(_messages.Count - 1);
            throw;
        }

        return Stream(prompt, isStopped);
    }

    /// <inheritdoc/>
    public void Dispose() => _cache?.Dispose();

    private EncodedPrompt Prompt()
    {
        var context = _loaded.Model.Config.MaxPositionEmbeddings;
        var room = Math.Min(_options.MaxNewTokens, context / 4);
        var conversation = Conversation;
        var turns = conversation.Turns.Count;
        for (var left = 0; left < turns; left++)
        {
            var text = _template.Render(conversation.Without(left), asks: true, day: DateTime.Now).Text;
            var prompt = _encoder.Prompt(text);
            _encoder.RequireKnown(prompt.Ids, "the conversation");
            if (prompt.Ids.Count + room > context && left < turns - 1)
                continue;
            LeftOutTurns = left;
            return prompt.Ids.Count < context ? prompt : throw UserException.At(
                "the message", Words.Count(prompt.Ids.Count, "token") + " with the system message",
                $"fewer than the model's {context} positions", "shorten it");
        }

        throw new InvalidOperationException("a conversation without a turn");
    }

    private IEnumerable<ChatPiece> Stream(EncodedPrompt prompt, Func<bool> isStopped)
    {
        var ids = prompt.Ids;
        Continue(ids);
        using var random = _options.Temperature == 0 ? null : Seeds.GeneratorFor(_options.Seed, $"chat {_answers++}");
        var most = Math.Min(_options.MaxNewTokens, _loaded.Model.Config.MaxPositionEmbeddings - ids.Count);
        var decoder = _loaded.Tokenizer.NewDecoder(skipSpecialTokens: true);
        foreach (var id in ids)
            decoder.Append(id);
        var written = new AnswerText(_frame);
        var held = prompt.HeldBack;
        IReadOnlyList<int> next = [.. ids.Skip(_seen.Count)];
        int? expert = null;
        for (var step = 0; step < most && !written.IsEnded && !isStopped(); step++)
        {
            (var logits, expert) = Run(next);
            var id = TokenSampler.Choose(logits, _options, () => TokenSampler.Uniform(random!));
            if (_encoder.Ends.Contains(id) || _frame.EndIds.Contains(id))
                break;
            next = [id];
            if (written.Add(EncodedPrompt.Continuation(decoder.Append(id), ref held)) is { Length: > 0 } piece)
                yield return new ChatPiece(piece, expert);
        }

        var rest = written.IsEnded ? "" : written.Add(EncodedPrompt.Continuation(decoder.Flush(), ref held));
        rest += written.Rest();
        if (rest.Length > 0)
            yield return new ChatPiece(rest, expert);
        _messages.Add(ChatMessage.Of(_messages.Count + 1, ChatRoles.Assistant, written.Text));
    }

    // Keeps the cache where the ids go on from those it holds.
    private void Continue(IReadOnlyList<int> ids)
    {
        var goesOn = _cache is { HoldsDecisions: false } && _seen.Count < ids.Count
            && ids.Take(_seen.Count).SequenceEqual(_seen);
        ReusedTokens = goesOn ? _seen.Count : 0;
        if (goesOn)
            return;
        _cache?.Dispose();
        _cache = new KeyValueCache(_loaded.Model.Config.LayerCount, ids.Count + 256);
        _seen.Clear();
    }

    private (float[] Logits, int? Expert) Run(IReadOnlyList<int> ids)
    {
        using var scope = torch.NewDisposeScope();
        using var frozen = torch.no_grad();
        var model = _loaded.Model;
        var T = ids.Count;
        long[] positions = [.. Enumerable.Range(_seen.Count, T).Select(at => (long)at)];
        var pass = ForwardPass.ForInference(
            _cache, ForwardPass.TaskIdsOf(_options.TaskId, 1, model.Device),
            positions: torch.tensor(positions, [1, T]).to(model.Device));
        var input = torch.tensor(ids.Select(id => (long)id).ToArray(), [1, T]).to(model.Device);
        var hidden = model.Hidden(input, pass).narrow(1, T - 1, 1);                                     // [1, 1, D]
        _seen.AddRange(ids);
        TokenSampler.Copy(model.Head(hidden, pass), ref _logits);
        return (_logits, Strongest(pass));
    }

    // Of the last token, over all modules.
    private static int? Strongest(ForwardPass pass)
    {
        double[] sums = [];
        foreach (var record in pass.Records<RoutingRecord>())
        {
            var gates = record.Decision.Gates[-1].to(ScalarType.Float64).Values<double>();
            if (gates.Length > sums.Length)
                Array.Resize(ref sums, gates.Length);
            for (var expert = 0; expert < gates.Length; expert++)
                sums[expert] += gates[expert];
        }

        return sums.Length == 0 ? null : Array.IndexOf(sums, sums.Max());
    }
}
