namespace Peft.Formats.Tokenizers.Reading;

/// <summary>
/// Keeps the steps of a tokenizer file from multiplying a text: each may be harmless, and forty of them that double it
/// would never end. Real ones replace a character by one.
/// </summary>
internal static class ChainLimits
{
    private const int MostSteps = 64;
    private const double MostTimes = 1024;

    /// <param name="part">The normalizer, pre-tokenizer or decoder, for messages.</param>
    /// <param name="steps">Its steps, sequences inside sequences included.</param>
    /// <param name="growths">How many times as long each of them can make a text.</param>
    /// <exception cref="TokenizerFileException">There are too many, or they multiply.</exception>
    public static void Require(JsonPart part, int steps, IEnumerable<double> growths)
    {
        if (steps > MostSteps)
            throw part.Fault($"{steps} steps", $"at most {MostSteps}");
        var times = growths.Aggregate(1.0, (product, growth) => product * growth);
        if (times > MostTimes)
            throw part.Fault($"steps that make a text {times:G4} times as long", $"at most {MostTimes} times");
    }
}
