using System.Text;

namespace Peft.Prepare.Texts;

/// <summary>What packed bytes hold.</summary>
internal static class Inflated
{
    /// <summary>All that a stream gives; it is closed.</summary>
    public static byte[] Bytes(Stream packed)
    {
        using var stream = packed;
        using var result = new MemoryStream();
        stream.CopyTo(result);
        return result.ToArray();
    }

    /// <summary>The same, as UTF-8.</summary>
    public static string Text(Stream packed)
    {
        using var reader = new StreamReader(packed, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
