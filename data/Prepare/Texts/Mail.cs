using System.Text.RegularExpressions;

namespace Peft.Prepare.Texts;

/// <summary>What a person would have read first of a mail.</summary>
/// <param name="Subject">The subject, decoded.</param>
/// <param name="Body">The start of the readable text: at most <see cref="BodyLength"/> characters, whole words.</param>
/// <param name="Thread">
/// The subject in lower case without reply marks and list names; the start of the text when nothing is left.
/// </param>
internal sealed partial record Mail(string Subject, string Body, string Thread)
{
    /// <summary>The longest body, in UTF-16 code units.</summary>
    public const int BodyLength = 300;

    private const int ThreadLength = 80;

    /// <summary>Reads enough of MIME for it; a part that is malformed is taken as it stands.</summary>
    public static Mail Read(string raw)
    {
        var message = MailPart.Parse(raw.Replace("\r\n", "\n", StringComparison.Ordinal));
        var subject = Printable(MailEncoding.DecodeWords(message.Header("subject") ?? ""));
        var text = Printable(message.ReadableText() ?? "");
        var thread = WhiteSpace.Trim(ReplyMarks().Replace(subject.ToLowerInvariant(), ""));
        return new(subject, StartOf(text), thread.Length > 0 ? thread : text[..Math.Min(text.Length, ThreadLength)]);
    }

    private static string StartOf(string text)
    {
        if (text.Length <= BodyLength)
            return text;
        var space = text.LastIndexOf(' ', BodyLength);
        return text[..(space > BodyLength / 2 ? space : BodyLength)];
    }

    // Printable characters and single spaces only.
    private static string Printable(string text) => WhiteSpace.Trim(Unprintable().Replace(text, " "));

    [GeneratedRegex(@"[\u0000-\u0020\u007f-\u00a0\ufffd]+")]
    private static partial Regex Unprintable();

    [GeneratedRegex(
        $@"^(?:{WhiteSpace.Class}*(?:re|fwd?|aw){WhiteSpace.Class}*(?:\[[0-9]+\])?:|{WhiteSpace.Class}*\[[^\]]*\])+")]
    private static partial Regex ReplyMarks();
}
