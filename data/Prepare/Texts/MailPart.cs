using System.Text.RegularExpressions;

namespace Peft.Prepare.Texts;

/// <summary>One part of a mail, or the whole of it: headers and a body.</summary>
internal sealed partial class MailPart
{
    private const int DeepestNesting = 5;
    private const string PlainText = "text/plain";

    private readonly Dictionary<string, string> _headers = [];
    private readonly string _body;

    private MailPart(string head, string body)
    {
        _body = body;
        foreach (var line in FoldedLine().Replace(head, " ").Split('\n'))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon > 0)
                _headers.TryAdd(line[..colon].ToLowerInvariant(), WhiteSpace.Trim(line[(colon + 1)..]));
        }
    }

    private string ContentType => Header("content-type") ?? PlainText;

    private bool IsPlain => ContentType.StartsWith(PlainText, StringComparison.OrdinalIgnoreCase);

    /// <summary>Splits at the first empty line; without one there are headers only.</summary>
    public static MailPart Parse(string raw)
    {
        var end = raw.IndexOf("\n\n", StringComparison.Ordinal);
        return end < 0 ? new(raw, "") : new(raw[..end], raw[(end + 2)..]);
    }

    /// <summary>The first header of this name (in lower case), or null.</summary>
    public string? Header(string name) => _headers.GetValueOrDefault(name);

    /// <summary>The text of this part, or of the best part inside it; null when there is none to read.</summary>
    public string? ReadableText() => ReadableText(0);

    private string? ReadableText(int depth)
    {
        var type = ContentType;
        var isMultipart = type.StartsWith("multipart/", StringComparison.OrdinalIgnoreCase);
        if (isMultipart && depth < DeepestNesting && BoundaryOf(type) is { } boundary)
            return Parts(boundary)
                .OrderBy(part => !part.IsPlain)
                .Select(part => part.ReadableText(depth + 1))
                .FirstOrDefault(text => text?.All(WhiteSpace.Has) == false);
        if (!isMultipart && !IsText().IsMatch(type) && IsOtherMedia().IsMatch(type))
            return null;
        var decoded = MailEncoding.DecodeTransfer(_body, Header("content-transfer-encoding") ?? "");
        var isHtml = type.Contains("html", StringComparison.OrdinalIgnoreCase) || StartsAsHtml().IsMatch(decoded);
        return isHtml ? Html.WithoutMarkup(decoded) : decoded;
    }

    // A part without headers begins with its empty line and loses it here, so that its text is taken for headers and
    // not
    // seen. So were the rows made that results were measured on: it stays.
    private IEnumerable<MailPart> Parts(string boundary) =>
        _body.Split("--" + boundary, StringSplitOptions.None)
            .Skip(1)
            .Where(part => !part.StartsWith("--", StringComparison.Ordinal))
            .Select(part => Parse(RestOfBoundaryLine().Replace(part, "")));

    private static string? BoundaryOf(string type)
    {
        var match = Boundary().Match(type);
        return match.Success && WhiteSpace.Trim(match.Groups[1].Value) is { Length: > 0 } boundary ? boundary : null;
    }

    [GeneratedRegex(@"\n[ \t]+")]
    private static partial Regex FoldedLine();

    [GeneratedRegex(@"\A[ \t]*\n")]
    private static partial Regex RestOfBoundaryLine();

    [GeneratedRegex("boundary=\"?([^\";\\n]+)\"?", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Boundary();

    [GeneratedRegex(@"\A(?:text|message)/", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex IsText();

    [GeneratedRegex(@"\A[A-Za-z]+/")]
    private static partial Regex IsOtherMedia();

    [GeneratedRegex(
        $@"\A{WhiteSpace.Class}*<(?:!doctype|html|head|body|table|font|center)",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex StartsAsHtml();
}
