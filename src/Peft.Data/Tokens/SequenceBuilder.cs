using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Formats;

namespace Peft.Data.Tokens;

/// <summary>
/// Turns one example into one sequence, a long text into several: prefix (BOS), prompt, answer, EOS. Prompt and answer are encoded
/// apart and joined as ids, so that no token spans the boundary and the answer has the ids that a model produces after the prompt.
/// </summary>
internal sealed class SequenceBuilder(TextEncoder encoder, SequenceOptions options)
{
    private readonly int[] _end = options.AddEos && encoder.EndId is { } end ? [end] : [];

    /// <summary>The sequence of an example; none for one to be skipped, several for a long text where sequences are packed.</summary>
    /// <param name="example">The example.</param>
    /// <param name="isText">True for plain text: everything is learned.</param>
    /// <param name="taskId">Its task.</param>
    /// <exception cref="DataRowException">The answer alone is too long and on_long_answer is error.</exception>
    public IReadOnlyList<TokenSequence> Build(Example example, bool isText, int taskId)
    {
        var prefix = encoder.Prefix;
        var prompt = example.Prompt.Length == 0 ? [] : encoder.Encode(example.Prompt);
        var answer = encoder.Encode(example.Answer);

        // The first token of all cannot be predicted: without a prefix the prompt must keep one token for the answer's sake.
        var kept = prefix.Count == 0 && prompt.Count > 0 ? 1 : 0;
        var room = options.MaxLength - prefix.Count - kept;
        if (answer.Count + _end.Length > room)
        {
            if (isText && options.Packing)
                return Pieces([.. answer, .. _end], room, example, taskId);
            if (options.OnLongAnswer == LongAnswerPolicy.Skip)
                return [];
            if (options.OnLongAnswer == LongAnswerPolicy.Error)
                throw TooLong(example, answer.Count + _end.Length, room, isText);
            return One(Join(prompt, prompt.Count - kept, answer, room, [], example, isText, taskId));
        }

        var promptRoom = options.MaxLength - prefix.Count - answer.Count - _end.Length;
        return One(Join(prompt, Math.Max(0, prompt.Count - promptRoom), answer, answer.Count, _end, example, isText, taskId));

        static IReadOnlyList<TokenSequence> One(TokenSequence? sequence) => sequence is null ? [] : [sequence];
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
    public (IReadOnlyList<TokenSequence> Sequences, DataRowException? Error) TryBuild(Example example, bool isText, int taskId)
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
        IReadOnlyList<int> prompt, int promptStart, IReadOnlyList<int> answer, int answerLength, int[] end, Example example,
        bool isText, int taskId)
    {
        var prefix = encoder.Prefix;
        var ids = new int[prefix.Count + prompt.Count - promptStart + answerLength + end.Length];
        var at = 0;
        for (var i = 0; i < prefix.Count; i++)
            ids[at++] = prefix[i];
        for (var i = promptStart; i < prompt.Count; i++)
            ids[at++] = prompt[i];
        var learnedFrom = Math.Max(1, isText || options.TrainOnPrompt ? Math.Min(prefix.Count, 1) : at);
        for (var i = 0; i < answerLength; i++)
            ids[at++] = answer[i];
        end.CopyTo(ids, at);
        var cut = promptStart + answer.Count - answerLength;
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
/// Wrapped packing for language modelling: texts one after the other, each ended by EOS, cut into blocks of <c>max_length</c>. Each
/// block begins with the tokenizer's prefix; nothing is lost, the last block may be short. Attention sees the whole block.
/// </summary>
internal sealed class TextPacker(TextEncoder encoder, int maxLength, bool addEos)
{
    private readonly List<int> _block = [.. encoder.Prefix];
    private (int TaskId, RowId Row) _origin;

    /// <summary>Adds a text and gives the blocks that it fills.</summary>
    public IEnumerable<TokenSequence> Add(string text, int taskId, RowId row)
    {
        var ids = encoder.Encode(text);
        var count = ids.Count + (addEos && encoder.EndId is not null ? 1 : 0);
        for (var at = 0; at < count; at++)
        {
            if (_block.Count == encoder.Prefix.Count)
                _origin = (taskId, row);
            _block.Add(at < ids.Count ? ids[at] : encoder.EndId!.Value);
            if (_block.Count == maxLength)
                yield return Take();
        }
    }

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
