using System.Text.RegularExpressions;

namespace Peft.Formats.HuggingFace;

/// <summary>
/// How PEFT compares module paths with the names and regular expressions of an adapter's configuration.
/// </summary>
public static class ModulePattern
{
    // A pattern comes from a file of unknown origin; one that backtracks without end must not hang the program.
    private static readonly TimeSpan MatchLimit = TimeSpan.FromSeconds(1);

    /// <summary>A name in a list: the exact path, or its end after a dot.</summary>
    public static bool IsNamed(string name, string modulePath) =>
        modulePath == name || modulePath.EndsWith("." + name, StringComparison.Ordinal);

    /// <summary>A regular expression that must match the whole path.</summary>
    /// <exception cref="HuggingFaceException">It is no regular expression, or takes too long.</exception>
    public static bool MatchesWhole(string pattern, string modulePath) =>
        IsMatch(pattern, $@"\A(?:{pattern})\z", modulePath);

    /// <summary>
    /// A key of <c>rank_pattern</c> or <c>alpha_pattern</c>: matches the end of the path, from a dot or the start.
    /// </summary>
    /// <exception cref="HuggingFaceException">It is no regular expression, or takes too long.</exception>
    public static bool MatchesEnd(string pattern, string modulePath) =>
        IsMatch(pattern, $@"\A(?:.*\.)?(?:{pattern})\z", modulePath);

    private static bool IsMatch(string pattern, string whole, string modulePath)
    {
        try
        {
            // Python spells named groups (?P<name>...).
            var expression = whole.Replace("(?P<", "(?<", StringComparison.Ordinal);
            return Regex.IsMatch(modulePath, expression, RegexOptions.CultureInvariant, MatchLimit);
        }
        catch (RegexMatchTimeoutException error)
        {
            throw new HuggingFaceException(
                MessageText.Of(
                    "adapter_config.json", $"pattern {Quote.Of(pattern)} takes too long", "a simpler pattern",
                    "list the modules by name"),
                error);
        }
        catch (ArgumentException error)
        {
            throw new HuggingFaceException(
                MessageText.Of(
                    "adapter_config.json",
                    $"pattern {Quote.Of(pattern)}",
                    "a regular expression",
                    "list the modules by name"),
                error);
        }
    }
}
