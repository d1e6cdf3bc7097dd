using System.Globalization;

namespace Peft.Formats.Configuration;

/// <summary>
/// A single value: text, number, true or false, or nothing. Kept as it was written; the reader decides the type.
/// </summary>
public sealed class ConfigScalar : ConfigNode
{
    /// <summary>Makes a scalar. Unquoted <c>null</c>, <c>~</c> and the empty text are nothing, as in YAML.</summary>
    public ConfigScalar(string source, int line, string? text, bool isQuoted = false)
        : base(source, line)
    {
        Text = !isQuoted && text is "" or "~" or "null" or "Null" or "NULL" ? null : text;
        IsQuoted = isQuoted && text is not null;
    }

    /// <summary>The text without its quotes and escapes; null for nothing.</summary>
    public string? Text { get; }

    /// <summary>True when it stood in quotes, so that it is text whatever it looks like.</summary>
    public bool IsQuoted { get; }

    /// <summary>True for null.</summary>
    public bool IsNull => Text is null;

    /// <summary>Nothing.</summary>
    public static ConfigScalar Null(string source) => new(source, 0, null);

    /// <summary>A text, whatever it looks like.</summary>
    public static ConfigScalar Of(string? text, string source = "") => new(source, 0, text, isQuoted: true);

    /// <summary>A whole number.</summary>
    public static ConfigScalar Of(long value, string source = "") =>
        new(source, 0, value.ToString(CultureInfo.InvariantCulture));

    /// <summary>A number, in the shortest form that reads back as the same double and as a float in Python.</summary>
    public static ConfigScalar Of(double value, string source = "") => new(source, 0, NumberText(value));

    /// <summary>true or false.</summary>
    public static ConfigScalar Of(bool value, string source = "") => new(source, 0, value ? "true" : "false");

    /// <summary>Reads a whole number; <c>8.0</c> and <c>1e3</c> are not written as whole numbers and fail.</summary>
    public bool TryInteger(out long value)
    {
        value = 0;
        return !IsQuoted && long.TryParse(Text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>Reads a finite number.</summary>
    public bool TryNumber(out double value)
    {
        value = 0;
        return !IsQuoted
            && double.TryParse(Text, NumberStyles.Float, CultureInfo.InvariantCulture, out value)
            && double.IsFinite(value);
    }

    /// <summary>Reads true or false, in YAML's spellings (true, True, TRUE); yes and on are not among them.</summary>
    public bool TryBoolean(out bool value)
    {
        value = !IsQuoted && Text is "true" or "True" or "TRUE";
        return !IsQuoted && (value || Text is "false" or "False" or "FALSE");
    }

    /// <inheritdoc/>
    public override string Describe() => Text switch
    {
        null => "null",
        _ when !IsQuoted && (TryNumber(out _) || TryBoolean(out _)) => Text.Length > 40 ? Quote.Of(Text) : Text,
        _ => Quote.Of(Text),
    };

    // Python's YAML reader takes 1e-05 for a text; with a point before the exponent every reader sees a number.
    private static string NumberText(double value)
    {
        if (!double.IsFinite(value))
            throw new ArgumentOutOfRangeException(nameof(value), value, "configuration holds finite numbers only");
        var text = value.ToString("R", CultureInfo.InvariantCulture).ToLowerInvariant();
        if (text.Contains('.', StringComparison.Ordinal))
            return text;
        var exponent = text.IndexOf('e', StringComparison.Ordinal);
        return exponent < 0 ? text + ".0" : string.Concat(text.AsSpan(0, exponent), ".0", text.AsSpan(exponent));
    }
}
