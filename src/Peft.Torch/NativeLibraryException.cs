namespace Peft.Torch;

/// <summary>The native library or libtorch is missing or of another version. The text says what was found, what is
/// expected and the ways to fix it; a program prints it and stops as for any mistake of the user's
/// surroundings.</summary>
public sealed class NativeLibraryException : Exception
{
    /// <summary>An exception with its whole text.</summary>
    public NativeLibraryException(string message)
        : base(message)
    {
    }

    /// <summary>An exception with its whole text and the loader's own words.</summary>
    public NativeLibraryException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
