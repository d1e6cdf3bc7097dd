using Peft.Data.Examples;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Tokens;

/// <summary>
/// Turns one example into one sequence, a long text into several: prefix (BOS), prompt, answer, EOS. Prompt and answer are encoded apart and joined
/// as ids, so that no token spans the boundary and the answer has the ids that a model produces after the prompt.
/// </summary>
internal sealed class SequenceBuilder(TextEncoder encoder, DataOptions options)
{
    private readonly int[] _end = options.AddEos && encoder.EndId is { } end ? [end] : [];

    /// <summary>The sequence of an example; none for one to be skipped, several for a long text where sequences are packed.</summary>
    /// <param name="example">The example.</param>
    /// <param name="isText">True for plain text: everything is learned.</param>
    /// <param name="taskId">Its task.</param>
    /// <param name="fileId">Its file.</param>
    /// <exception cref="DataRowException">The answer alone is too long and on_long_answer is error.</exception>
    public IReadOnlyList<EncodedSequence> Build(Example example, bool isText, int taskId, int fileId)
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
                return Pieces([.. answer, .. _end], room, example, taskId, fileId);
            if (options.OnLongAnswer == LongAnswerPolicy.Skip)
                return [];
            if (options.OnLongAnswer == LongAnswerPolicy.Error)
                throw TooLong(example, answer.Count + _end.Length, room, isText);
            return One(Join(prompt, prompt.Count - kept, answer, room, [], example, isText, taskId, fileId));
        }

        var promptRoom = options.MaxLength - prefix.Count - answer.Count - _end.Length;
        return One(Join(prompt, Math.Max(0, prompt.Count - promptRoom), answer, answer.Count, _end, example, isText, taskId, fileId));

        static IReadOnlyList<EncodedSequence> One(EncodedSequence? sequence) => sequence is { } made ? [made] : [];
    }

    // Packed rows have room for the rest of a text: it goes on in further sequences, each with the prefix.
    private List<EncodedSequence> Pieces(int[] ids, int room, Example example, int taskId, int fileId)
    {
        var pieces = ids.Chunk(room)
            .Select(chunk => new EncodedSequence([.. encoder.Prefix, .. chunk], 1, taskId, fileId, example.Row.Row, 0)).ToList();
        // A single token without a prefix has nothing before it to be predicted from.
        if (pieces[^1].LearnedTokens == 0)
        {
            pieces.RemoveAt(pieces.Count - 1);
            pieces[^1] = pieces[^1] with { CutTokens = 1 };
        }

        return pieces;
    }

    /// <summary>The same, for work that is spread: an error is handed back, to be thrown in its turn.</summary>
    public (IReadOnlyList<EncodedSequence> Sequences, DataRowException? Error) TryBuild(Example example, bool isText, int taskId, int fileId)
    {
        try
        {
            return (Build(example, isText, taskId, fileId), null);
        }
        catch (DataRowException error)
        {
            return ([], error);
        }
    }

    private EncodedSequence? Join(
        IReadOnlyList<int> prompt, int promptStart, IReadOnlyList<int> answer, int answerLength, int[] end, Example example,
        bool isText, int taskId, int fileId)
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
            : new EncodedSequence(ids, learnedFrom, taskId, fileId, example.Row.Row, cut);
    }

    // A text of a single token, without BOS and EOS.
    private EncodedSequence? NothingToLearn(Example example) => options.OnLongAnswer == LongAnswerPolicy.Error
        ? throw new DataRowException(
            $"{example.Row} - a single token, nothing to predict it from - at least two tokens - say `add_eos: true`,"
            + " or leave the row out with `filter:`",
            example.Row)
        : null;

    private DataRowException TooLong(Example example, int found, int room, bool isText) => new(
        $"{example.Row} - the {(isText ? "text" : "answer")} has {found} tokens (with end-of-text)"
        + $" - at most {room} of max_length {options.MaxLength} - raise `max_length`, say `on_long_answer: skip` or `cut`"
        + (isText ? ", or `packing: true`" : ""),
        example.Row);
}
