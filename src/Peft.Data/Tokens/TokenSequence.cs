using Peft.Data.Tables;

namespace Peft.Data.Tokens;

/// <summary>Tokens of a sequence that stand together, and that the loss counts.</summary>
/// <param name="Start">The first of them; at least 1, since nothing predicts the first token of all.</param>
/// <param name="End">The first behind them.</param>
public readonly record struct LearnedRun(int Start, int End);

/// <summary>One example in tokens, and which of them the loss counts.</summary>
/// <param name="Ids">Token ids, special tokens included.</param>
/// <param name="Learned">The learned tokens: rising runs that do not touch. Of a prompt and its answer, the
/// tail.</param>
/// <param name="TaskId">Index of its task.</param>
/// <param name="Row">Where it came from; of a packed block, the row of its first token.</param>
/// <param name="CutTokens">How many tokens were left out to fit <c>max_length</c>.</param>
public sealed record TokenSequence(
    int[] Ids, IReadOnlyList<LearnedRun> Learned, int TaskId, RowId Row, int CutTokens)
{
    /// <summary>A sequence of which the tail is learned.</summary>
    /// <param name="ids">Token ids, special tokens included.</param>
    /// <param name="learnedFrom">The first learned token; at least 1.</param>
    /// <param name="taskId">Index of its task.</param>
    /// <param name="row">Where it came from.</param>
    /// <param name="cutTokens">How many tokens were left out.</param>
    public TokenSequence(int[] ids, int learnedFrom, int taskId, RowId row, int cutTokens)
        : this(ids, learnedFrom < ids.Length ? [new LearnedRun(learnedFrom, ids.Length)] : [], taskId, row, cutTokens)
    {
    }

    /// <summary>Turns of the conversation that were left out to fit <c>max_length</c>.</summary>
    public int CutTurns { get; init; }

    /// <summary>The roles of its messages where it is a conversation that was just read; the store keeps
    /// none.</summary>
    public IReadOnlyList<string> Roles { get; init; } = [];

    /// <summary>How many tokens the loss counts.</summary>
    public int LearnedTokens
    {
        get
        {
            var sum = 0;
            foreach (var run in Learned)
                sum += run.End - run.Start;
            return sum;
        }
    }

    /// <summary>Whether the loss counts a token.</summary>
    public bool IsLearned(int at) => Learned.Any(run => run.Start <= at && at < run.End);

    /// <summary>The runs of what is learned.</summary>
    /// <param name="length">Tokens of the sequence.</param>
    /// <param name="isLearned">Whether a token is learned; not asked of the first, which never is.</param>
    internal static IReadOnlyList<LearnedRun> Runs(int length, Func<int, bool> isLearned)
    {
        var runs = new List<LearnedRun>();
        for (var at = 1; at < length; at++)
        {
            var start = at;
            while (at < length && isLearned(at))
                at++;
            if (at > start)
                runs.Add(new LearnedRun(start, at));
        }

        return runs;
    }
}
