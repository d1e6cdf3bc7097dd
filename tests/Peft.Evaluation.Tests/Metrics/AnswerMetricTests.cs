using Peft.Evaluation.Metrics;

namespace Peft.Evaluation.Tests.Metrics;

public sealed class AnswerMetricTests
{
    [Fact]
    public void The_names_are_those_that_recipes_write()
    {
        Assert.Equal(["accuracy", "exact_match", "token_error_rate", "char_error_rate"], AnswerMetric.Names);
        Assert.Equal([true, true, false, false], AnswerMetric.All.Select(m => m.HigherIsBetter));
        Assert.All(AnswerMetric.Names, name => Assert.Equal(name, AnswerMetric.Of(name).Name));
        Assert.All(AnswerMetric.All, metric => Assert.NotEmpty(metric.Description));
    }

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
    public void The_token_error_rate_is_edits_per_expected_token_over_all_rows()
    {
        // One substitution in 3; one deletion and one insertion in 2: 3 edits over 5, not the mean of 1/3 and 1.
        Assert.Equal(3 / 5.0, Score("token_error_rate", ["K AE1 S", " B B C"], ["K AE1 T", "A B"]));
        Assert.Equal(0, Score("token_error_rate", ["K  AE1 T "], ["K AE1 T"]));
        Assert.Equal(1, Score("token_error_rate", [""], ["K AE1 T"]));
        Assert.Equal(2, Score("token_error_rate", ["a b c"], ["x"]) - 1);
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
    public void Random_rows_score_as_the_definitions_say()
    {
        var random = new Random(3);
        for (var time = 0; time < 50; time++)
        {
            var rows = Enumerable.Range(0, 1 + random.Next(6)).Select(_ => (Prediction: Text(random), Answer: Text(random))).ToList();
            var (predictions, answers) = (rows.Select(r => r.Prediction).ToList(), rows.Select(r => r.Answer).ToList());
            Assert.Equal(
                rows.Average(r => r.Prediction == r.Answer ? 1.0 : 0), Score("exact_match", predictions, answers), 1e-12);
            Assert.Equal(
                rows.Sum(r => Distance(r.Prediction.Split(' '), r.Answer.Split(' '))) / (double)rows.Sum(r => r.Answer.Split(' ').Length),
                Score("token_error_rate", predictions, answers), 1e-12);
            Assert.Equal(
                rows.Sum(r => Distance(r.Prediction.ToCharArray(), r.Answer.ToCharArray())) / (double)rows.Sum(r => r.Answer.Length),
                Score("char_error_rate", predictions, answers), 1e-12);
        }
    }

    [Fact]
    public void Another_number_of_predictions_is_refused() => Assert.All(
        AnswerMetric.Names, name => Assert.Throws<ArgumentException>(() => Score(name, ["a"], ["a", "b"])));

    private static double Score(string name, IReadOnlyList<string> predictions, IReadOnlyList<string> answers) =>
        AnswerMetric.Of(name).Score(predictions, answers);

    private static string Text(Random random) =>
        string.Join(' ', Enumerable.Range(0, 1 + random.Next(4)).Select(_ => new[] { "a", "b", "cc" }[random.Next(3)]));

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
                    table[i - 1, j - 1] + (a[i - 1].Equals(b[j - 1]) ? 0 : 1), 1 + Math.Min(table[i - 1, j], table[i, j - 1]));
            }
        }
        return table[a.Length, b.Length];
    }
}
