namespace Peft.Torch.Interop;

/// <summary>The imports of libpeft_torch.so, one partial file per native file. Every import's status throws by
/// itself.</summary>
internal static partial class NativeMethods
{
    /// <summary>The name the locator resolves.</summary>
    internal const string Library = "peft_torch";

    // Runs before the first import is called, whichever that is.
    static NativeMethods() => NativeLibraryLocator.Register();
}
