using System.Globalization;
using System.Text.RegularExpressions;

namespace Peft.Formats.HuggingFace;

/// <summary>
/// How PEFT compares module paths with the names and regular expressions of an adapter's configuration.
/// </summary>
public static partial class ModulePattern
{
    // A pattern comes from a file of unknown origin; one that backtracks without end must not hang the program.
    private const int LongestPattern = 10_000;
    private const string LayerGroup = "peft_layer";
    private static readonly TimeSpan MatchLimit = TimeSpan.FromSeconds(1);

    /// <summary>A name in a list: the exact path, or its end after a dot.</summary>
    public static bool IsNamed(string name, string modulePath) =>
        modulePath == name || modulePath.EndsWith("." + name, StringComparison.Ordinal);

    /// <summary>A regular expression that must match the whole path.</summary>
    /// <exception cref="UserException">It is no regular expression, or takes too long.</exception>
    public static bool MatchesWhole(string pattern, string modulePath) =>
        IsMatch(pattern, $@"\A(?:{pattern})\z", modulePath);

    /// <summary>
    /// A key of <c>rank_pattern</c> or <c>alpha_pattern</c>: matches the end of the path, from a dot or the start.
    /// </summary>
    /// <exception cref="UserException">It is no regular expression, or takes too long.</exception>
    public static bool MatchesEnd(string pattern, string modulePath) => IsPlain(pattern)
        ? EndsWith(pattern, modulePath)
        : IsMatch(pattern, $@"\A(?:.*\.)?(?:{pattern})\z", modulePath);

    /// <summary>The number after a list of layers in a path, such as 3 in <c>model.layers.3.mlp</c>; null where there
    /// is none.</summary>
    /// <param name="list">Name of the list, or a regular expression for it (PEFT's <c>layers_pattern</c>).</param>
    /// <param name="modulePath">The module's path.</param>
    /// <exception cref="UserException">It is no regular expression, or takes too long.</exception>
    public static int? LayerAfter(string list, string modulePath)
    {
        var match = Match(list, $@"\A.*\.{list}\.(?<{LayerGroup}>\d+)\.", modulePath);
        return match.Success
            && int.TryParse(match.Groups[LayerGroup].ValueSpan, CultureInfo.InvariantCulture, out var layer)
                ? layer
                : null;
    }

    /// <summary>The number of the block that a module belongs to, whatever the family calls its list of blocks
    /// (<c>model.layers.3.mlp</c>, <c>transformer.h.3.mlp</c>); null outside the blocks.</summary>
    public static int? LayerOf(string modulePath) =>
        BlockNumber().Match(modulePath) is { Success: true } match
            && int.TryParse(match.Groups[2].ValueSpan, CultureInfo.InvariantCulture, out var layer)
                ? layer
                : null;

    /// <summary>A path with a star for that number: what modules that differ in their block alone have in
    /// common.</summary>
    public static string WithoutLayer(string modulePath) => BlockNumber().Replace(modulePath, "$1*.", 1);

    /// <summary>Whether a pattern that nothing was matched with yet can be used.</summary>
    public static bool IsValid(string pattern)
    {
        try
        {
            MatchesWhole(pattern, "");
            return true;
        }
        catch (UserException)
        {
            return false;
        }
    }

    // Nearly all are plain names, and an adapter may have one for each of its modules.
    private static bool IsPlain(string pattern) =>
        pattern.Length > 0 && pattern.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '.');

    // As the expression would: a dot in the pattern is any character.
    private static bool EndsWith(string pattern, string modulePath)
    {
        var start = modulePath.Length - pattern.Length;
        if (start < 0 || start > 0 && modulePath[start - 1] != '.')
            return false;
        for (var i = 0; i < pattern.Length; i++)
        {
            if (pattern[i] != '.' && pattern[i] != modulePath[start + i])
                return false;
        }

        return true;
    }

    private static bool IsMatch(string pattern, string whole, string modulePath) =>
        Match(pattern, whole, modulePath).Success;

    private static Match Match(string pattern, string whole, string modulePath)
    {
        if (pattern.Length > LongestPattern)
            throw Unusable(pattern, $"has more than {LongestPattern:N0} characters");
        try
        {
            // Python spells named groups (?P<name>...).
            var expression = whole.Replace("(?P<", "(?<", StringComparison.Ordinal);
            return Regex.Match(modulePath, expression, RegexOptions.CultureInvariant, MatchLimit);
        }
        catch (RegexMatchTimeoutException error)
        {
            throw Unusable(pattern, "takes too long to match", error);
        }
        catch (ArgumentException error)
        {
            throw Unusable(pattern, "is not a valid regular expression", error);
        }
    }

    [GeneratedRegex(@"\A(.*?\.)(\d+)\.", RegexOptions.CultureInvariant)]
    private static partial Regex BlockNumber();

    private static UserException Unusable(string pattern, string found, Exception? inner = null) =>
        UserException.At($"module pattern {Quote.Of(pattern)}", found, null, "list the modules by name", inner);
}
