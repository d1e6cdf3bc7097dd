using Peft.Data;
using Peft.Data.Tables;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tasks;
using Peft.Formats;

namespace Peft.Evaluation.Tests.Metrics;

public sealed class GenerationMetricTests
{
    [Fact]
    public void Every_metric_is_described_and_found_by_its_name()
    {
        Assert.Equal(
            ["accuracy", "exact_match", "numeric", "token_f1", "token_error_rate", "char_error_rate"],
            Metric.Of(TaskKind.Generation));
        Assert.Equal(["acc", "acc_norm", "acc_bytes"], Metric.Of(TaskKind.MultipleChoice));
        Assert.Equal(
            ["accuracy", "macro_f1", "matthews_correlation", "pearson", "spearman"],
            Metric.Of(TaskKind.Classification));
        Assert.Equal(["token_perplexity", "bits_per_byte"], Metric.Of(TaskKind.Perplexity));
        Assert.All(Metric.All, metric => Assert.Same(metric, Metric.Named(metric.Name)));
        Assert.All(Metric.All, metric => Assert.NotEmpty(metric.Description));
    }

    [Fact]
    public void A_perplexity_that_no_number_holds_is_told() => Assert.Equal(
        "token_perplexity: a mean of 800 nats a token; expected a perplexity that a number can hold. The adapter has "
            + "diverged, or base and tokenizer do not belong together; bits_per_byte has no such limit.",
        Assert.Throws<UserException>(
            () => Metric.Named("token_perplexity").Combine([[1600, 2]], [0])).Message);

    [Theory]
    [InlineData("accuracy")]
    [InlineData("exact_match")]
    public void Equal_answers_are_counted_whatever_the_white_space(string name)
    {
        Assert.Equal(0.5, Score(name, [" spam", "ham", "ham", "a  b\n"], ["spam", "spam", "Ham", "a b"]));
        Assert.Equal(1, Score(name, ["x"], ["x"]));
        Assert.Equal(0, Score(name, [""], ["x"]));
        Assert.Equal(1, Score(name, [" "], [""]));
    }

    [Fact]
    public void Normalisation_is_what_the_task_asks_for()
    {
        Assert.Equal(0, Score("exact_match", ["The  Cat!\nmore"], ["cat"]));
        Assert.Equal(1, Score("exact_match", ["The  Cat!\nmore"], ["cat"], "first_line", "squad"));
        Assert.Equal(1, Score("exact_match", ["CAT"], ["cat"], "lowercase"));
        Assert.Equal(1, Score("exact_match", ["c.a-t"], ["cat"], "punctuation"));
        Assert.Equal("über œuvre", TextNormalization.Apply(" ÜBER\tthe Œuvre? ", ["squad"]));
    }

    [Fact]
    public void The_token_error_rate_is_edits_per_expected_token_over_all_rows()
    {
        // One substitution in 3; one deletion and one insertion in 2: 3 edits over 5, not the mean of 1/3 and 1.
        Assert.Equal(3 / 5.0, Score("token_error_rate", ["K AE1 S", " B B C"], ["K AE1 T", "A B"]));
        Assert.Equal(0, Score("token_error_rate", ["K  AE1 T "], ["K AE1 T"]));
        Assert.Equal(1, Score("token_error_rate", [""], ["K AE1 T"]));
        Assert.Equal(2, Score("token_error_rate", ["a b"], [""]));
    }

    [Fact]
    public void The_character_error_rate_is_edits_per_expected_character()
    {
        Assert.Equal(3 / 7.0, Score("char_error_rate", ["kitten"], ["sitting"]));
        Assert.Equal(0, Score("char_error_rate", [" a  b "], ["a b"]));
        // A character outside the basic plane is one character.
        Assert.Equal(1 / 2.0, Score("char_error_rate", ["a\U0001F600"], ["a\U0001F601"]));
        Assert.Equal(1 / 3.0, Score("char_error_rate", ["ab"], ["a b"]));
    }

    [Fact]
    public void Token_F1_is_the_overlap_of_words_as_SQuAD_counts_it()
    {
        Assert.Equal(1, Score("token_f1", ["the cat sat"], ["sat the cat"]));
        // 2 of 3 predicted words and 2 of 4 expected ones: precision 2/3, recall 1/2.
        Assert.Equal(2 * (2 / 3.0) * 0.5 / (2 / 3.0 + 0.5), Score("token_f1", ["a b b"], ["b a c d"]), 1e-12);
        Assert.Equal(0.5, Score("token_f1", ["", "x"], ["", "y"]));
        Assert.Equal(0, Score("token_f1", [""], ["x"]));
    }

    [Theory]
    [InlineData("She makes 9 * 2 = $18 a day.\n#### 18", "18", true)]
    [InlineData("so 3 and then 1,234.50", "#### 1234.5", true)]
    [InlineData("the answer is 18.", "x #### 18", true)]
    [InlineData("#### -7 (not 8)", "-7", true)]
    [InlineData("18 apples, 5 pears", "18", false)]
    [InlineData("", "18", false)]
    [InlineData("eighteen", "18", false)]
    [InlineData("none", " none ", true)]
    [InlineData("99999999999999999999999999999999999999", "1", false)]
    public void Numbers_are_compared_by_value(string prediction, string answer, bool isRight) =>
        Assert.Equal(isRight ? 1 : 0, Score("numeric", [prediction], [answer]));

    [Fact]
    public void Random_rows_score_as_the_definitions_say()
    {
        var random = new Random(3);
        for (var time = 0; time < 50; time++)
        {
            var rows = Enumerable.Range(0, 1 + random.Next(6))
                .Select(_ => (Prediction: Text(random), Answer: Text(random))).ToList();
            var (predictions, answers) = (rows.Select(r => r.Prediction).ToList(), rows.Select(r => r.Answer).ToList());
            Assert.Equal(
                rows.Average(r => r.Prediction == r.Answer ? 1.0 : 0), Score("exact_match", predictions, answers),
                1e-12);
            Assert.Equal(
                rows.Sum(
                    r => Distance(r.Prediction.Split(' '), r.Answer.Split(' '))) / (double)rows.Sum(
                        r => r.Answer.Split(' ').Length),
                Score("token_error_rate", predictions, answers), 1e-12);
            Assert.Equal(
                rows.Sum(
                    r => Distance(r.Prediction.ToCharArray(), r.Answer.ToCharArray())) / (double)rows.Sum(
                        r => r.Answer.Length),
                Score("char_error_rate", predictions, answers), 1e-12);
            Assert.Equal(
                rows.Average(r => F1(r.Prediction.Split(' '), r.Answer.Split(' '))),
                Score("token_f1", predictions, answers), 1e-12);
        }
    }

    private static double Score(
        string name, IReadOnlyList<string> predictions, IReadOnlyList<string> answers, params string[] normalize)
    {
        var task = new EvaluationTask
        {
            Name = "t", Kind = TaskKind.Generation, Sources = [], Metrics = [name], Normalize = normalize,
        };
        var metric = Metric.Named(name);
        var rows = predictions.Zip(answers, (prediction, answer) => metric.OfRow(
            new JudgedRow(
                task, new TaskRow(0, new RowId("f", 1), "", answer), new RowResult(0, prediction, [], 0, false))))
            .ToList();
        return metric.Combine(rows, [.. Enumerable.Range(0, rows.Count)]);
    }

    private static string Text(Random random) =>
        string.Join(' ', Enumerable.Range(0, 1 + random.Next(4)).Select(_ => new[] { "a", "b", "cc" }[random.Next(3)]));

    // Each predicted word takes an expected one away.
    private static double F1(string[] prediction, string[] answer)
    {
        var left = answer.ToList();
        double shared = prediction.Count(left.Remove);
        return shared == 0
            ? 0
            : 2 * (shared / prediction.Length) * (shared / answer.Length) / (
                shared / prediction.Length + shared / answer.Length);
    }

    // The whole table, as textbooks print it.
    private static int Distance<T>(T[] a, T[] b)
        where T : IEquatable<T>
    {
        var table = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
        {
            for (var j = 0; j <= b.Length; j++)
            {
                table[i, j] = i == 0 ? j : j == 0 ? i : Math.Min(
                    table[i - 1, j - 1] + (a[i - 1].Equals(b[j - 1]) ? 0 : 1),
                    1 + Math.Min(table[i - 1, j], table[i, j - 1]));
            }
        }
        return table[a.Length, b.Length];
    }
}
