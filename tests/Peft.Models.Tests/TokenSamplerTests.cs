using Peft.Formats;

namespace Peft.Models.Tests;

public sealed class TokenSamplerTests
{
    // Probabilities 0.1, 0.4, 0.2, 0.3.
    private static readonly float[] Logits = [.. new[] { 0.1, 0.4, 0.2, 0.3 }.Select(p => (float)Math.Log(p))];

    [Fact]
    public void Greedy_takes_the_largest_and_the_first_of_equals_without_a_random_number()
    {
        Assert.Equal(
            1, TokenSampler.Choose(Logits, new GenerationOptions(), () => throw new InvalidOperationException()));
        Assert.Equal(
            0, TokenSampler.Choose([2, 2, 1], new GenerationOptions(), () => throw new InvalidOperationException()));
    }

    [Fact]
    public void Logits_that_are_no_numbers_are_an_error_and_no_token() => Assert.Contains(
        "generation: the model's logits are NaN; expected finite logits. The weights of",
        Assert.Throws<UserException>(
            () => TokenSampler.Choose([1, float.NaN, 2], new GenerationOptions(), () => 0)).Message,
        StringComparison.Ordinal);

    [Theory]
    [InlineData(0.0, 0)]
    [InlineData(0.09, 0)]
    [InlineData(0.11, 1)]
    [InlineData(0.49, 1)]
    [InlineData(0.51, 2)]
    [InlineData(0.71, 3)]
    [InlineData(0.999999, 3)]
    public void Plain_sampling_inverts_the_cumulative_probability(double uniform, int expected) =>
        Assert.Equal(expected, TokenSampler.Choose(Logits, new GenerationOptions { Temperature = 1 }, () => uniform));

    [Theory]
    [InlineData(2, 1.0, 0.56, 1)] // 0.4/0.7 = 0.571
    [InlineData(2, 1.0, 0.58, 3)]
    [InlineData(1, 1.0, 0.99, 1)]
    [InlineData(0, 0.39, 0.99, 1)]
    [InlineData(0, 0.41, 0.99, 3)]
    [InlineData(0, 0.71, 0.99, 2)]
    [InlineData(3, 0.75, 0.99, 3)] // of 0.4, 0.3, 0.2 renormalised: 0.444 + 0.333 reach 0.75
    [InlineData(0, 1e-9, 0.99, 1)]
    public void Top_k_and_top_p_cut_the_tail(int topK, double topP, double uniform, int expected) =>
        Assert.Equal(expected, TokenSampler.Choose(
            Logits, new GenerationOptions { Temperature = 1, TopK = topK, TopP = topP }, () => uniform));

    [Fact]
    public void Low_temperature_sharpens()
    {
        // Probabilities to the power of 2: 0.01, 0.16, 0.04, 0.09 of 0.30.
        Assert.Equal(1, TokenSampler.Choose(Logits, new GenerationOptions { Temperature = 0.5 }, () => 0.04));
        Assert.Equal(0, TokenSampler.Choose(Logits, new GenerationOptions { Temperature = 0.5 }, () => 0.03));
    }

    // Sorted as a whole; many tokens are alike, some are shut out.
    [Theory]
    [InlineData(0, 1.0)]
    [InlineData(1, 0.5)]
    [InlineData(7, 1.0)]
    [InlineData(40, 0.8)]
    [InlineData(0, 0.6)]
    [InlineData(500, 0.9)]
    public void Choices_are_those_from_a_sorted_vocabulary(int topK, double topP)
    {
        var random = new Random(topK);
        var logits = new float[300];
        for (var i = 0; i < logits.Length; i++)
            logits[i] = i % 11 == 3 ? float.NegativeInfinity : MathF.Round(4 * random.NextSingle(), 1) - 2;
        logits[17] = -0f;
        var options = new GenerationOptions { Temperature = 0.7, TopK = topK, TopP = topP };
        for (var uniform = 0.005; uniform < 1; uniform += 0.01)
            Assert.Equal(Sorted(logits, options, uniform), TokenSampler.Choose(logits, options, () => uniform));
    }

    private static int Sorted(float[] logits, GenerationOptions options, double uniform)
    {
        var all = logits.Select((logit, id) => (Id: id, Weight: Math.Exp(logit / options.Temperature)));
        if (options.TopK > 0 || options.TopP < 1)
            all = all.OrderByDescending(token => token.Weight).ThenBy(token => token.Id);
        var tokens = all.Take(options.TopK > 0 ? options.TopK : logits.Length).ToList();
        var (mass, held) = (options.TopP * tokens.Sum(token => token.Weight), 0.0);
        if (options.TopP < 1)
            tokens = [.. tokens.TakeWhile((token, i) => (i == 0 || held < mass) && (held += token.Weight) > 0)];
        var left = uniform * tokens.Sum(token => token.Weight);
        return tokens.First(token => (left -= token.Weight) < 0).Id;
    }
}
