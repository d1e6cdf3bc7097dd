using Peft.Evaluation.Results;
using Peft.Evaluation.Scoring;
using Peft.Models;

namespace Peft.Evaluation.Tests.Scoring;

public sealed class ContinuationScorerTests : IDisposable
{
    private readonly TinyEvaluation _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(16)]
    public void Every_score_is_the_sum_of_the_plain_forwards_log_softmax(int batchSize)
    {
        var groups = Groups();
        var scores = groups.Chunk(batchSize).SelectMany(chunk => ContinuationScorer.Score(_tiny.Model, chunk)).ToList();
        Assert.Equal(groups.Count, scores.Count);
        foreach (var (group, own) in groups.Zip(scores))
            Assert.All(group.Zip(own), pair => Assert.Equal(Plain(pair.First), pair.Second, 1e-4));
    }

    [Fact]
    public void Sequences_share_no_more_than_what_comes_before_all_that_is_scored()
    {
        Assert.Equal(3, ContinuationScorer.Shared([new([1, 5, 6, 7], 3), new([1, 5, 6, 8], 3)]));
        Assert.Equal(2, ContinuationScorer.Shared([new([1, 5, 6, 7], 3), new([1, 5, 9, 7], 3)]));
        Assert.Equal(2, ContinuationScorer.Shared([new([1, 5, 6, 7], 3), new([1, 5, 6, 7], 2)]));
        Assert.Equal(0, ContinuationScorer.Shared([new([1, 5], 1), new([3, 5], 1)]));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(16)]
    public void Sequences_that_share_no_token_are_each_scored_by_themselves(int batchSize)
    {
        var groups = new List<IReadOnlyList<ScoredSequence>>
        {
            new ScoredSequence[] { new([5, 6, 7, 8], 2), new([9, 6, 7, 8], 2), new([6, 7, 8], 1) },
            new ScoredSequence[] { new([5, 6, 7, 8], 3), new([5, 6, 7, 9], 3) },
            new ScoredSequence[] { new([11, 8], 1), new([12, 8], 1) },
        };
        var scores = groups.Chunk(batchSize).SelectMany(chunk => ContinuationScorer.Score(_tiny.Model, chunk)).ToList();
        foreach (var (group, own) in groups.Zip(scores))
            Assert.All(group.Zip(own), pair => Assert.Equal(Plain(pair.First), pair.Second, 1e-4));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(16)]
    public void Sequences_run_whole_have_the_scores_of_those_that_go_on_from_a_beginning(int batchSize)
    {
        var groups = Groups();
        var scores = groups.Chunk(batchSize)
            .SelectMany(chunk => ContinuationScorer.Score(_tiny.Model, chunk, isWhole: true)).ToList();
        Assert.Equal(groups.Count, scores.Count);
        foreach (var (group, own) in groups.Zip(scores))
            Assert.All(group.Zip(own), pair => Assert.Equal(Plain(pair.First), pair.Second, 1e-4));
    }

    [Fact]
    public void No_tensor_is_left_behind()
    {
        var groups = Groups();
        var before = Peft.Tests.LiveTensors.Settled();
        ContinuationScorer.Score(_tiny.Model, groups);
        LiveTensors.AssertNoMoreThan(before);
    }

    // Single tokens, several tokens, contexts that differ before what is scored, and a single sequence.
    private static List<IReadOnlyList<ScoredSequence>> Groups()
    {
        var random = new Random(2);
        int[] Ids(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(3, 32))];
        var groups = new List<IReadOnlyList<ScoredSequence>>();
        for (var i = 0; i < 17; i++)
        {
            int[] prompt = [1, .. Ids(1 + i * 5 % 13)];
            groups.Add((i % 4) switch
            {
                0 => [.. Enumerable.Range(0, 4).Select(_ => new ScoredSequence([.. prompt, .. Ids(1)], prompt.Length))],
                1 =>
                [
                    .. Enumerable.Range(0, 3)
                        .Select(c => new ScoredSequence([.. prompt, .. Ids(1 + c * 2)], prompt.Length)),
                ],
                2 =>
                [
                    .. Enumerable.Range(0, 2)
                        .Select(c => new ScoredSequence([.. prompt, .. Ids(1 + c), 7, 8, 9], prompt.Length + 1 + c)),
                ],
                _ => [new ScoredSequence([1, .. Ids(20)], 1)],
            });
        }
        return groups;
    }

    private double Plain(ScoredSequence sequence)
    {
        var logs = _tiny.LogProbabilities(sequence.Ids);
        return Enumerable.Range(sequence.From, sequence.Ids.Count - sequence.From)
            .Sum(t => logs[t - 1][sequence.Ids[t]]);
    }
}
