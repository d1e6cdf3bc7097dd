using Peft.Data.Examples;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Scoring;
using Peft.Evaluation.Tasks;
using Peft.Models;

namespace Peft.Evaluation.Tests;

/// <summary>
/// A random llama answers number texts; the answers are computed again row by row with the plain forward.
/// </summary>
public sealed class TaskEvaluatorTests : IDisposable
{
    private readonly TinyEvaluation _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void Every_choice_has_the_log_likelihood_of_the_plain_forward()
    {
        var data = _tiny.Choices("c", 17);
        var results = new TaskEvaluator(_tiny.Model, _tiny.Tokenizer, 4).Run(data);
        Assert.Equal(Enumerable.Range(0, 17), results.Select(result => result.Index));
        foreach (var (row, result) in data.Rows.Zip(results))
        {
            for (var choice = 0; choice < 3; choice++)
            {
                if (row.Choices[choice] is not { } text)
                {
                    Assert.Equal(double.NegativeInfinity, result.LogLikelihoods[choice]);
                    continue;
                }
                int[] prompt = [.. _tiny.Tokenizer.EncodeToIds(row.Prompt)];
                int[] ids = [.. prompt, .. _tiny.Tokenizer.EncodeToIds(text, addSpecialTokens: false)];
                var logs = _tiny.LogProbabilities(ids);
                Assert.Equal(
                    Enumerable.Range(prompt.Length, ids.Length - prompt.Length).Sum(t => logs[t - 1][ids[t]]),
                    result.LogLikelihoods[choice], 1e-4);
            }
        }
    }

    [Theory]
    [InlineData(3)]
    [InlineData(16)]
    public void The_numbers_are_the_same_whatever_the_batch_size(int batchSize)
    {
        TaskData[] all =
        [
            _tiny.Choices("c", 20), _tiny.Generated("g", 20), _tiny.Generated("s", 20, "7", " 1"), Texts(),
        ];
        foreach (var data in all)
        {
            var alone = new TaskEvaluator(_tiny.Model, _tiny.Tokenizer, 1).Run(data);
            var together = new TaskEvaluator(_tiny.Model, _tiny.Tokenizer, batchSize).Run(data);
            foreach (var (one, other) in alone.Zip(together))
            {
                Assert.Equal(
                    (one.Index, one.Prediction, one.Tokens, one.IsTruncated), (
                        other.Index, other.Prediction, other.Tokens, other.IsTruncated));
                Assert.All(
                    one.LogLikelihoods.Zip(other.LogLikelihoods).Where(pair => double.IsFinite(pair.First)),
                    pair => Assert.Equal(pair.First, pair.Second, 1e-4));
            }
        }
    }

    [Fact]
    public void Answers_are_the_greedy_ones_and_end_before_a_stop_text()
    {
        var (free, stopped) = (_tiny.Generated("g", 12), _tiny.Generated("s", 12, "7", " 1"));
        var results = new TaskEvaluator(_tiny.Model, _tiny.Tokenizer, 5).Run(free);
        Assert.All(free.Rows.Zip(results), pair => Assert.Equal(Greedy(pair.First.Prompt, 6), pair.Second.Prediction));
        var cut = new TaskEvaluator(_tiny.Model, _tiny.Tokenizer, 5).Run(stopped);
        Assert.All(results.Zip(cut), pair =>
        {
            var whole = pair.First.Prediction;
            int[] ends =
            [
                whole.IndexOf('7', StringComparison.Ordinal), whole.IndexOf(" 1", StringComparison.Ordinal),
                whole.Length,
            ];
            var end = ends.Where(at => at >= 0).Min();
            Assert.Equal(whole[..end], pair.Second.Prediction);
        });
        Assert.Contains(cut.Zip(results), pair => pair.First.Prediction != pair.Second.Prediction);
    }

    [Fact]
    public void A_texts_likelihood_is_over_every_token_of_it_in_windows_of_the_context()
    {
        var data = Texts();
        var results = new TaskEvaluator(_tiny.Model, _tiny.Tokenizer, 2).Run(data);
        foreach (var (row, result) in data.Rows.Zip(results))
        {
            int[] ids = [1, .. _tiny.Tokenizer.EncodeToIds(row.Answer, addSpecialTokens: false)];
            var sum = 0.0;
            for (var from = 1; from < ids.Length; from += TinyEvaluation.Context)
            {
                var to = Math.Min(ids.Length, from + TinyEvaluation.Context);
                var window = ids[Math.Max(0, to - TinyEvaluation.Context - 1)..to];
                var logs = _tiny.LogProbabilities(window[..^1]);
                sum += Enumerable.Range(window.Length - (to - from), to - from).Sum(t => logs[t - 1][window[t]]);
            }
            Assert.Equal(ids.Length - 1, result.Tokens);
            Assert.Equal(sum, result.LogLikelihoods[0], 1e-2);
            var judged = new JudgedRow(data.Task, row, result);
            Assert.Equal(Math.Exp(-sum / (ids.Length - 1)), Metric.Named("token_perplexity").ScoreOf(judged), 1e-2);
            Assert.Equal(-sum / Math.Log(2) / row.Answer.Length, Metric.Named("bits_per_byte").ScoreOf(judged), 1e-3);
        }
    }

    [Fact]
    public void Equal_likelihoods_are_a_tie_that_the_first_choice_wins()
    {
        var data = _tiny.Data(
            _tiny.Choice("t"), ["""{"p": "5 6", "a": "B", "x": " 9", "y": " 9", "z": " 9 9"}"""], "{x}", "{y}", "{z}");
        var judged = new JudgedRow(
            data.Task, data.Rows[0], new TaskEvaluator(_tiny.Model, _tiny.Tokenizer, 1).Run(data)[0]);
        Assert.True(judged.IsTie);
        Assert.Equal(0, judged.Likeliest);
        Assert.False(judged.IsCorrect);
        Assert.Equal("A", judged.Shown);
    }

    [Fact]
    public void Normalised_likelihoods_leave_out_the_space_before_a_choice_and_count_characters_or_bytes()
    {
        // By lm-evaluation-harness 0.4.9, lm_eval/api/task.py, process_results, with numpy: choices ["été", "abcd", "
        // 𝄞"] without the delimiter, completion_len [3, 4, 2], byte_length [5, 4, 5]; lls [-6.2, -8.1, -6.4] over
        // these: [-2.0667, -2.025, -3.2] and [-1.24, -2.025, -1.28].
        var row = new TaskRow(0, new("f", 1), "", "B") { Choices = [" été", " abcd", "  \U0001D11E", null], Gold = 1 };
        Assert.Equal([3, 4, 2], Enumerable.Range(0, 3).Select(row.CharactersOf));
        Assert.Equal([5, 4, 5], Enumerable.Range(0, 3).Select(row.BytesOf));
        Assert.Equal(3, (row with { Choices = ["\nab"] }).CharactersOf(0));
        var judged = new JudgedRow(
            _tiny.Choice("x"), row, new RowResult(0, "", [-6.2, -8.1, -6.4, double.NegativeInfinity], 0, false));
        Assert.Equal((0, 1, 0), (judged.Likeliest, judged.LikeliestPerCharacter, judged.LikeliestPerByte));
        Assert.Equal(0, Metric.Named("acc").ScoreOf(judged));
        Assert.Equal(1, Metric.Named("acc_norm").ScoreOf(judged));
        Assert.Equal(0, Metric.Named("acc_bytes").ScoreOf(judged));
    }

    [Fact]
    public void Perplexities_and_bits_per_byte_of_several_texts_are_those_of_the_harness()
    {
        // By lm-evaluation-harness 0.4.9, lm_eval/api/metrics.py, bits_per_byte: -weighted_mean / ln 2 of lls [-12.5,
        // -30.25] over bytes [7, 20]: 42.75 / 27 / 0.693147 = 2.284267; over tokens [5, 11], exponential of the mean:
        // e^(42.75 / 16) = 14.467070.
        var task = new EvaluationTask
        {
            Name = "t", Kind = TaskKind.Perplexity, Sources = [], Metrics = ["bits_per_byte"],
        };
        List<JudgedRow> rows =
        [
            new(task, new(0, new("f", 1), "", "caf\u00e9 s"), new(0, "", [-12.5], 5, false)),
            new(task, new(1, new("f", 2), "", "twenty letters, 20 b"), new(1, "", [-30.25], 11, false)),
        ];
        double Value(string name) => Metric.Named(name) is var metric
            ? metric.Combine([.. rows.Select(metric.OfRow)], [0, 1]) : 0;
        Assert.Equal(2.284267, Value("bits_per_byte"), 1e-6);
        Assert.Equal(14.467070, Value("token_perplexity"), 1e-6);
    }

    [Fact]
    public void A_grade_is_the_mean_of_the_labels_numbers_by_their_likelihood()
    {
        var task = _tiny.Choice("g", "pearson") with { Kind = TaskKind.Classification, Labels = ["0", "2.5", "5"] };
        var judged = new JudgedRow(
            task, new TaskRow(0, new("f", 1), "", "3.2") { Choices = ["0", "2.5", "5"] },
            new RowResult(0, "", [Math.Log(0.1) - 900, Math.Log(0.2) - 900, Math.Log(0.1) - 900], 0, false));
        Assert.Equal(2.5, judged.ExpectedGrade, 1e-9);
        Assert.Equal("2.500", judged.Shown);
        Assert.Equal(3.2, judged.Grade);
    }

    [Fact]
    public void A_prompt_that_is_too_long_is_cut_and_counted()
    {
        var random = new Random(1);
        var data = _tiny.Data(
            _tiny.Choice("l"),
            new[] { 0, 90, 62, 63 }.Select(length => TinyEvaluation.Numbers(random, length))
                .Select(prompt => $$"""{"p": "{{prompt}}", "a": "A", "x": " 9", "y": " 4 8", "z": ""}"""),
            "{x}", "{y}", "{z}");
        var results = new TaskEvaluator(_tiny.Model, _tiny.Tokenizer, 4).Run(data);
        Assert.Equal([false, true, false, true], results.Select(result => result.IsTruncated));
        Assert.All(results, result => Assert.True(double.IsFinite(result.LogLikelihoods[0])));
    }

    private TaskData Texts()
    {
        var random = new Random(6);
        return _tiny.Data(
            new EvaluationTask
            {
                Name = "p", Kind = TaskKind.Perplexity, Sources = [], Metrics = ["token_perplexity", "bits_per_byte"],
            },
            new[] { 5, 150, 1, 64, 65 }.Select(length => $$"""{"a": "{{TinyEvaluation.Numbers(random, length)}}"}"""));
    }

    private string Greedy(string prompt, int newTokens)
    {
        var ids = _tiny.Tokenizer.EncodeToIds(prompt).ToList();
        var start = ids.Count;
        while (ids.Count < start + newTokens)
        {
            var last = _tiny.LogProbabilities(ids)[^1];
            var next = Array.IndexOf(last, last.Max());
            if (next == 2)
                break;
            ids.Add(next);
        }
        return string.Join(' ', ids.Skip(start));
    }
}
