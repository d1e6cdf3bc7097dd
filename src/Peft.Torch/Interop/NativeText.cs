using System.Text;

namespace Peft.Torch.Interop;

/// <summary>Text results: asked for once with room for most, once more where it was longer.</summary>
internal static class NativeText
{
    /// <summary>A function that writes UTF-8 and says how long the whole text is.</summary>
    internal delegate Status Writer(Span<byte> text, long capacity, out long length);

    /// <summary>This thread's last native error message.</summary>
    internal static string LastError() => Read(NativeMethods.pt_last_error);

    /// <summary>The whole text of a writer.</summary>
    internal static string Read(Writer write)
    {
        Span<byte> buffer = stackalloc byte[1024];
        write(buffer, buffer.Length, out var length);
        if (length <= buffer.Length) return Encoding.UTF8.GetString(buffer[..(int)length]);
        var longer = new byte[length];
        write(longer, longer.Length, out _);
        return Encoding.UTF8.GetString(longer);
    }
}
