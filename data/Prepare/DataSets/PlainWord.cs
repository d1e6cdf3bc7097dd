namespace Peft.Prepare.DataSets;

/// <summary>The words that pairs are made of: short enough to be spelled in a prompt.</summary>
internal static class PlainWord
{
    private const int Shortest = 2;
    private const int Longest = 14;

    /// <summary>True for 2 to 14 letters, none of them a capital.</summary>
    public static bool Is(string word) =>
        word.Length is >= Shortest and <= Longest && word.All(char.IsAsciiLetterLower);
}
