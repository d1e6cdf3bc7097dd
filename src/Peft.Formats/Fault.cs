namespace Peft.Formats;

/// <summary>One thing that is wrong in what the user gave.</summary>
/// <param name="Place">Where: a line and key, a file, a tensor.</param>
/// <param name="Found">What stands there.</param>
/// <param name="Allowed">What may stand there.</param>
/// <param name="Advice">What to do about it, where that is not plain from <paramref name="Allowed"/>.</param>
public sealed record Fault(string Place, string Found, string Allowed, string? Advice = null)
{
    /// <summary>One line: place, what was found, what is allowed, advice.</summary>
    public override string ToString() => $"{Place}  {Found}  {AllowedAndAdvice}";

    internal string AllowedAndAdvice => Advice is null ? Allowed : $"{Allowed}; {Advice}";
}
