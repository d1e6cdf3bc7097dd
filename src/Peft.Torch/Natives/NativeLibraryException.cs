namespace Peft.Torch;

/// <summary>A native library is missing, damaged or of another version, or this processor cannot run it. The text says what was found, what
/// is expected and what to do; a program prints it and stops as for any mistake of the user's surroundings.</summary>
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

    /// <summary>The one that lies within an exception: what a static constructor throws arrives wrapped. Null when there is none.</summary>
    public static NativeLibraryException? Within(Exception? error)
    {
        while (error is not null and not NativeLibraryException) error = error.InnerException;
        return (NativeLibraryException?)error;
    }
}
