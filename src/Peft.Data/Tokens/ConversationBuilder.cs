using Peft.Chat;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Tokens;

/// <summary>
/// Turns a conversation into one sequence: prefix (BOS) unless the template spells it out, then the text of the chat
/// template, encoded as the one text that it is. A token is learned when any of its characters is. What does not fit
/// loses whole turns from the front; system messages at the beginning stay.
/// </summary>
internal sealed class ConversationBuilder(TextEncoder encoder, SequenceOptions options, ChatTemplate template)
{
    /// <summary>The sequence of a conversation; none for one to be skipped.</summary>
    /// <param name="conversation">The conversation.</param>
    /// <param name="row">Its row.</param>
    /// <param name="taskId">Its task.</param>
    /// <exception cref="DataRowException">Its last turn alone is too long and on_long_answer is error.</exception>
    /// <exception cref="ChatException">The template refuses it, or there is nothing to learn.</exception>
    public IReadOnlyList<TokenSequence> Build(Conversation conversation, RowId row, int taskId)
    {
        var whole = Encode(conversation);
        if (whole.Ids.Length <= options.MaxLength)
            return Made(whole, conversation, row, taskId, 0);
        var turns = conversation.Turns;
        var left = Fewest(turns.Count - 1, cut => LengthOf(conversation.Without(cut)) <= options.MaxLength);
        if (left is { } cutTurns && conversation.Without(cutTurns) is var kept && Encode(kept) is var rest
            && rest.Ids.Length <= options.MaxLength)
            return Made(rest, kept, row, taskId, cutTurns);
        var end = conversation.Without(turns.Count - 1);
        var last = Encode(end);
        return options.OnLongAnswer switch
        {
            LongAnswerPolicy.Skip => [],
            LongAnswerPolicy.Cut => Made(
                Cut(last), end, row, taskId, turns.Count - 1, last.Ids.Length - options.MaxLength),
            _ => throw TooLong(conversation, turns, last.Ids.Length, row),
        };
    }

    // The least number from 1 to most for which it holds; what holds for a number holds for all above it.
    private static int? Fewest(int most, Func<int, bool> holds)
    {
        if (most < 1 || !holds(most))
            return null;
        var (low, high) = (1, most);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = holds(middle) ? (low, middle) : (middle + 1, high);
        }

        return high;
    }

    private int LengthOf(Conversation conversation)
    {
        var text = template.Render(conversation, asks: false).Text;
        var tokens = encoder.Located(text);
        return encoder.Prefix.Count + tokens.Count + (NeedsEnd(text, tokens) ? 1 : 0);
    }

    private Encoded Encode(Conversation conversation)
    {
        var learned = LearnedTurns.Of(template, conversation, options.TrainOn);
        var tokens = encoder.Located(learned.Text);
        var first = encoder.Prefix.Count;
        var isLearned = new bool[first + tokens.Count + 1];
        var span = 0;
        for (var at = 0; at < tokens.Count; at++)
        {
            var token = tokens[at];
            while (span < learned.Learned.Count && learned.Learned[span].End <= token.Start)
                span++;
            if (span < learned.Learned.Count)
                isLearned[first + at] = learned.Learned[span].Start < Math.Max(token.End, token.Start + 1);
            // The end of a turn that the template writes with the next message.
            if (learned.TakesEnds && at > 0 && isLearned[first + at - 1] && encoder.Ends.Contains(token.Id)
                && !encoder.Ends.Contains(tokens[at - 1].Id))
                isLearned[first + at] = true;
        }

        int[] ids = [.. encoder.Prefix, .. tokens.Select(token => token.Id)];
        if (NeedsEnd(learned.Text, tokens) && isLearned[ids.Length - 1])
        {
            isLearned[ids.Length] = true;
            ids = [.. ids, encoder.EndId!.Value];
        }

        return new Encoded(ids, TokenSequence.Runs(ids.Length, at => isLearned[at]));
    }

    // Whether the last token that is no white space is a text's like any other: a template without ends of turn.
    private bool NeedsEnd(string text, IReadOnlyList<LocatedToken> tokens)
    {
        if (!options.AddEos || encoder.EndId is null)
            return false;
        for (var at = tokens.Count - 1; at >= 0; at--)
        {
            if (!text.AsSpan(tokens[at].Start, tokens[at].End - tokens[at].Start).IsWhiteSpace())
                return !encoder.Ends.Contains(tokens[at].Id) && !encoder.IsSpecial(tokens[at].Id);
        }

        return false;
    }

    private Encoded Cut(Encoded whole)
    {
        var length = options.MaxLength;
        return new Encoded(
            whole.Ids[..length],
            [.. whole.Learned.Where(run => run.Start < length).Select(run => run with
            {
                End = Math.Min(run.End, length),
            })]);
    }

    private static IReadOnlyList<TokenSequence> Made(
        Encoded encoded, Conversation conversation, RowId row, int taskId, int cutTurns, int cutTokens = 0) =>
        encoded.Learned.Count == 0
        ? SequenceBuilder.Unlearnable
        : [new TokenSequence(encoded.Ids, encoded.Learned, taskId, new RowId(row.File, row.Row), cutTokens)
            {
                CutTurns = cutTurns,
                Roles = [.. conversation.Messages.Select(message => message.Role)],
            }];

    private DataRowException TooLong(Conversation conversation, IReadOnlyList<int> turns, int length, RowId row) => new(
        row, new Fault(
            $"{row}, message {conversation.Messages[turns[^1]].Number}",
            $"the last turn of the conversation has {length} tokens with what stands before it",
            $"at most max_length {options.MaxLength}", "raise `max_length`, or set `on_long_answer: skip` or `cut`"));

    private sealed record Encoded(int[] Ids, IReadOnlyList<LearnedRun> Learned);
}
