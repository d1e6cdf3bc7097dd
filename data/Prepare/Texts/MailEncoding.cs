using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Peft.Prepare.Texts;

/// <summary>
/// The encodings of mails. Every byte becomes the character of its number (Latin-1), whatever character set is named:
/// the corpus is English of 2002, and one rule for all keeps its rows the same for ever.
/// </summary>
internal static partial class MailEncoding
{
    private const int BitsOfSymbol = 6;

    /// <summary>Undoes a content transfer encoding; a text of another encoding stays as it is.</summary>
    public static string DecodeTransfer(string body, string encoding)
    {
        if (encoding.Contains("base64", StringComparison.OrdinalIgnoreCase))
            return Base64(NotBase64().Replace(body, ""));
        return encoding.Contains("quoted-printable", StringComparison.OrdinalIgnoreCase)
            ? Unquote(SoftLineBreak().Replace(body, ""))
            : body;
    }

    /// <summary>Undoes the encoded words of a header: <c>=?charset?B?...?=</c> and <c>=?charset?Q?...?=</c>.</summary>
    public static string DecodeWords(string value) => EncodedWord().Replace(value, match =>
        match.Groups["kind"].ValueSpan is "b" or "B"
            ? Base64(match.Groups["data"].Value)
            : Unquote(match.Groups["data"].Value.Replace('_', ' ')));

    /// <summary>Decodes base64 leniently: both alphabets, other characters skipped, up to the first <c>=</c>.</summary>
    public static string Base64(string text)
    {
        var result = new StringBuilder(text.Length);
        var bits = 0;
        var count = 0;
        foreach (var symbol in text.TakeWhile(symbol => symbol != '=').Select(ValueOf).Where(value => value >= 0))
        {
            bits = (bits << BitsOfSymbol) | symbol;
            count += BitsOfSymbol;
            if (count < 8)
                continue;
            count -= 8;
            result.Append((char)((bits >> count) & 0xff));
            bits &= (1 << count) - 1;
        }

        return result.ToString();
    }

    private static string Unquote(string text) =>
        QuotedByte().Replace(text, match => ByteOf(match.ValueSpan[1..]).ToString());

    private static char ByteOf(ReadOnlySpan<char> digits) =>
        (char)byte.Parse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private static int ValueOf(char symbol) => symbol switch
    {
        >= 'A' and <= 'Z' => symbol - 'A',
        >= 'a' and <= 'z' => symbol - 'a' + 26,
        >= '0' and <= '9' => symbol - '0' + 52,
        '+' or '-' => 62,
        '/' or '_' => 63,
        _ => -1,
    };

    [GeneratedRegex(@"[^A-Za-z0-9+/=]")]
    private static partial Regex NotBase64();

    [GeneratedRegex(@"=[ \t]*\n")]
    private static partial Regex SoftLineBreak();

    [GeneratedRegex(@"=[0-9A-Fa-f]{2}")]
    private static partial Regex QuotedByte();

    [GeneratedRegex($@"=\?[^?]+\?(?<kind>[BbQq])\?(?<data>[^?]*)\?={WhiteSpace.Class}*")]
    private static partial Regex EncodedWord();
}
