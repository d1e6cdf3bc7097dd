using System.Globalization;
using Peft.Formats;

namespace Peft.Cli;

/// <summary>Sizes as people write them: 5GB, 500MB, 2GiB, 1000.</summary>
public static class ByteSize
{
    private static readonly (string Unit, long Bytes)[] Units =
    [
        ("KIB", 1L << 10), ("MIB", 1L << 20), ("GIB", 1L << 30), ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1), ("", 1),
    ];

    /// <summary>The number of bytes.</summary>
    /// <exception cref="UserException">It is no size, or less than a byte.</exception>
    public static long Parse(string option, string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var unit = Units.First(unit => text.EndsWith(unit.Unit, StringComparison.OrdinalIgnoreCase));
        if (double.TryParse(text.AsSpan(0, text.Length - unit.Unit.Length).Trim(), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            && number * unit.Bytes is >= 1 and < long.MaxValue)
            return (long)(number * unit.Bytes);
        throw new UserException($"{option}: '{text}' is no size - a number of bytes with KB, MB, GB, KiB, MiB or GiB, such as 5GB");
    }
}
