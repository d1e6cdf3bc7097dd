namespace Peft.Formats;

/// <summary>One thing that is wrong in what the user gave.</summary>
/// <param name="Place">Where: a line and key, a file, a tensor.</param>
/// <param name="Found">What is there, as words that may follow a colon: <c>'abc'</c>, <c>no such file</c>.</param>
/// <param name="Expected">What should be there, as words that follow "expected"; null where the advice says it all.</param>
/// <param name="Advice">What to do, as a sentence; its capital and full stop are added.</param>
public sealed record Fault(string Place, string Found, string? Expected = null, string? Advice = null)
{
    /// <summary>The house's form of every message: <c>place: found; expected this. Do that.</c></summary>
    public static string Text(string place, string found, string? expected = null, string? advice = null) =>
        new Fault(place, found, expected, advice).ToString();

    /// <inheritdoc/>
    public override string ToString() => $"{Place}: {Sentence}";

    /// <summary>The message without its place.</summary>
    internal string Sentence
    {
        get
        {
            var sentence = Ended(Expected is null ? Found : $"{Found}; expected {Expected}");
            return Advice is null ? sentence : $"{sentence} {Ended(char.ToUpperInvariant(Advice[0]) + Advice[1..])}";
        }
    }

    private static string Ended(string sentence) => sentence[^1] is '.' or '?' or '!' ? sentence : sentence + ".";
}
