using Peft.Chat;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Tokens;

/// <summary>
/// Turns one example into one sequence, a long text into several: prefix (BOS), prompt, answer, EOS. Prompt and answer
/// are encoded as the one text that they are (<see cref="TextEncoder.Pair"/>), so that evaluation and generation meet
/// the ids that were learned; a token that reaches over the border is learned. A prefix or end that the text spells out
/// itself is not added again.
/// </summary>
internal sealed class SequenceBuilder(TextEncoder encoder, SequenceOptions options, DataSetReader? set = null)
{
    /// <summary>The result of a conversation that the chat template cannot write, where such rows are
    /// skipped.</summary>
    public static readonly IReadOnlyList<TokenSequence> Unusable = new List<TokenSequence>();

    /// <summary>The result of an example of which nothing can be learned.</summary>
    public static readonly IReadOnlyList<TokenSequence> Unlearnable = Array.AsReadOnly(Array.Empty<TokenSequence>());

    private readonly ConversationBuilder? _talks =
        set?.Template is { } template ? new ConversationBuilder(encoder, options, template) : null;

    /// <summary>
    /// The sequence of an example; none for one to be skipped, several for a long text where sequences are packed.
    /// </summary>
    /// <param name="example">The example.</param>
    /// <param name="isText">True for plain text: everything is learned.</param>
    /// <param name="taskId">Its task.</param>
    /// <exception cref="DataRowException">The answer alone is too long and on_long_answer is error.</exception>
    public IReadOnlyList<TokenSequence> Build(Example example, bool isText, int taskId)
    {
        if (example.Conversation is { } conversation)
            return Build(conversation, example.Row, taskId);
        var prefix = encoder.Prefix;
        var (whole, from) = encoder.Pair(example.Prompt, example.Answer);
        int[] prompt = [.. whole.Take(from)];
        int[] answer = [.. whole.Skip(from)];
        var end = options.AddEos ? encoder.EndOf(answer) : [];

        // The first token of all cannot be predicted: without a prefix the prompt must keep one token for the answer's
        // sake.
        var kept = prefix.Count == 0 && prompt.Length > 0 ? 1 : 0;
        var room = options.MaxLength - prefix.Count - kept;
        if (answer.Length + end.Count > room)
        {
            if (isText && options.Packing)
                return Pieces([.. answer, .. end], room, example, taskId);
            if (options.OnLongAnswer == LongAnswerPolicy.Skip)
                return [];
            if (options.OnLongAnswer == LongAnswerPolicy.Error)
                throw TooLong(example, answer.Length + end.Count, room, isText);
            return One(Join(prompt, prompt.Length - kept, answer, room, [], example, isText, taskId));
        }

        var promptRoom = options.MaxLength - prefix.Count - answer.Length - end.Count;
        return One(
            Join(prompt, Math.Max(0, prompt.Length - promptRoom), answer, answer.Length, end, example, isText, taskId));

        static IReadOnlyList<TokenSequence> One(TokenSequence? sequence) => sequence is null ? Unlearnable : [sequence];
    }

    private IReadOnlyList<TokenSequence> Build(Conversation conversation, RowId row, int taskId)
    {
        try
        {
            return _talks!.Build(conversation, row, taskId);
        }
        catch (ChatException) when (set!.Options.OnBadRow == BadRowPolicy.Skip)
        {
            return Unusable;
        }
        catch (ChatException error)
        {
            throw new DataRowException(row, error.At(row.ToString()));
        }
    }

    // Packed rows have room for the rest of a text: it goes on in further sequences, each with the prefix.
    private List<TokenSequence> Pieces(int[] ids, int room, Example example, int taskId)
    {
        var pieces = ids.Chunk(room)
            .Select(chunk => new TokenSequence([.. encoder.Prefix, .. chunk], 1, taskId, Origin(example), 0)).ToList();
        // A single token without a prefix has nothing before it to be predicted from.
        if (pieces[^1].LearnedTokens == 0)
        {
            pieces.RemoveAt(pieces.Count - 1);
            pieces[^1] = pieces[^1] with { CutTokens = 1 };
        }

        return pieces;
    }

    /// <summary>The same, for work that is spread: an error is handed back, to be thrown in its turn.</summary>
    public (IReadOnlyList<TokenSequence> Sequences, DataRowException? Error) TryBuild(
        Example example, bool isText, int taskId)
    {
        try
        {
            return (Build(example, isText, taskId), null);
        }
        catch (DataRowException error)
        {
            return ([], error);
        }
    }

    private TokenSequence? Join(
        int[] prompt, int promptStart, int[] answer, int answerLength, IReadOnlyList<int> end, Example example,
        bool isText, int taskId)
    {
        int[] ids = [.. encoder.Prefix, .. prompt[promptStart..], .. answer[..answerLength], .. end];
        // The first token of all is never learned: nothing stands before it.
        var learnedFrom = isText || options.TrainOnPrompt
            ? 1
            : Math.Max(1, encoder.Prefix.Count + prompt.Length - promptStart);
        var cut = promptStart + answer.Length - answerLength;
        return ids.Length <= learnedFrom
            ? NothingToLearn(example)
            : new TokenSequence(ids, learnedFrom, taskId, Origin(example), cut);
    }

    // The store keeps no lines, and streaming shall name a row as it does.
    private static RowId Origin(Example example) => new(example.Row.File, example.Row.Row);

    // A text of a single token, without BOS and EOS.
    private TokenSequence? NothingToLearn(Example example) => options.OnLongAnswer == LongAnswerPolicy.Error
        ? throw new DataRowException(example.Row, new Fault(
            example.Row.ToString(), "a single token, which nothing can predict", "at least two tokens",
            "set `add_eos: true`, or leave the row out with `filter:`"))
        : null;

    private DataRowException TooLong(Example example, int found, int room, bool isText) => new(example.Row, new Fault(
        example.Row.ToString(),
        $"the {(isText ? "text" : "answer")} has {found} tokens (with end-of-text)",
        $"at most {room} of max_length {options.MaxLength}",
        $"raise `max_length`, or set `on_long_answer: skip` or `cut`{(isText ? ", or `packing: true`" : "")}"));
}

/// <summary>
/// Wrapped packing for language modelling: texts one after the other, each ended by EOS, cut into blocks of
/// <c>max_length</c>. Each block begins with the tokenizer's prefix; nothing is lost, the last block may be short.
/// Attention sees the whole block.
/// </summary>
internal sealed class TextPacker(TextEncoder encoder, int maxLength, bool addEos)
{
    private readonly List<int> _block = [.. encoder.Prefix];
    private (int TaskId, RowId Row) _origin;

    /// <summary>Adds a text and gives the blocks that it fills.</summary>
    public IEnumerable<TokenSequence> Add(string text, int taskId, RowId row)
    {
        var ids = encoder.Text(text);
        foreach (var id in ids.Concat(addEos ? encoder.EndOf(ids) : []))
        {
            if (_block.Count == encoder.Prefix.Count)
                _origin = (taskId, row);
            _block.Add(id);
            if (_block.Count == maxLength)
                yield return Take();
        }
    }

    /// <summary>Tokens of the last block where it has nothing to learn.</summary>
    public int Left => _block.Count - encoder.Prefix.Count;

    /// <summary>The last block, when it has anything to learn.</summary>
    public TokenSequence? Finish() => _block.Count > Math.Max(1, encoder.Prefix.Count) ? Take() : null;

    private TokenSequence Take()
    {
        var block = new TokenSequence([.. _block], 1, _origin.TaskId, _origin.Row, 0);
        _block.Clear();
        _block.AddRange(encoder.Prefix);
        return block;
    }
}
