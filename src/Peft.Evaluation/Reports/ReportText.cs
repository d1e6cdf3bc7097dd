using System.Globalization;
using Peft.Evaluation.Statistics;

namespace Peft.Evaluation.Reports;

/// <summary>Numbers as people read them.</summary>
internal static class ReportText
{
    public const string Dash = "–";

    public static string Number(double value) => Math.Abs(value) switch
    {
        >= 1000 => Minus(value.ToString("N0", CultureInfo.InvariantCulture)),
        >= 100 => Minus(value.ToString("F1", CultureInfo.InvariantCulture)),
        _ => Minus(value.ToString("F3", CultureInfo.InvariantCulture)),
    };

    public static string Interval(double low, double high) => $"{Number(low)} to {Number(high)}";

    public static string Signed(double value) => (value > 0 ? "+" : "") + Number(value);

    public static string P(double p) => p < 0.001 ? "< 0.001" : p.ToString("F3", CultureInfo.InvariantCulture);

    public static string Share(double value) => value.ToString("F2", CultureInfo.InvariantCulture);

    public static string Signed2(double value) => Minus(value.ToString("F2", CultureInfo.InvariantCulture));

    public static string Count(long value) => value.ToString("N0", CultureInfo.InvariantCulture);

    public static string Small(double value) => Minus(value.ToString("0.##e+0", CultureInfo.InvariantCulture));

    public static string Seconds(double? seconds) => seconds switch
    {
        null => Dash,
        < 1 => (seconds.Value * 1000).ToString("F0", CultureInfo.InvariantCulture) + " ms",
        < 120 => seconds.Value.ToString("F1", CultureInfo.InvariantCulture) + " s",
        _ => (seconds.Value / 60).ToString("F1", CultureInfo.InvariantCulture) + " min",
    };

    public static string Memory(long? bytes) => bytes switch
    {
        null => Dash,
        < 1L << 30 => (bytes.Value / (double)(1 << 20)).ToString("F0", CultureInfo.InvariantCulture) + " MiB",
        _ => (bytes.Value / (double)(1 << 30)).ToString("F2", CultureInfo.InvariantCulture) + " GiB",
    };

    public static string Percent(double share) => (100 * share).ToString("0.##", CultureInfo.InvariantCulture) + "%";

    /// <summary>A time as it is in results; empty where none is known.</summary>
    public static string When(string? time) => time is null ? ""
        : DateTimeOffset.TryParse(
            time, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal,
            out var parsed)
        ? parsed.ToString("yyyy-MM-dd HH:mm 'UTC'", CultureInfo.InvariantCulture)
        : time;

    /// <summary>A name like phoneme_error_rate in words.</summary>
    public static string Words(string name) => name.Replace('_', ' ');

    public static string Cut(string text, int longest) => text.Length <= longest ? text
        : text[..(char.IsHighSurrogate(text[longest - 1]) ? longest - 1 : longest)] + "…";

    // A number that rounds to zero has no sign, and a hyphen is no minus.
    private static string Minus(string text) =>
        !text.StartsWith('-')
            ? text : text.AsSpan(1).IndexOfAnyExcept("0.e+".AsSpan()) < 0 ? text[1..] : "−" + text[1..];
}
