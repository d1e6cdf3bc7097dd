using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>What a native call came to. A value of this type exists only after success: failure throws on the
/// way.</summary>
internal readonly struct Status
{
}

/// <summary>Turns the status number of every native call into nothing or an exception: no call site can forget the
/// check.</summary>
[CustomMarshaller(typeof(Status), MarshalMode.ManagedToUnmanagedOut, typeof(StatusMarshaller))]
internal static class StatusMarshaller
{
    /// <summary>PT_OUT_OF_MEMORY of peft_torch.h.</summary>
    internal const int OutOfMemory = 2;

    /// <summary>Throws <see cref="TorchException"/> when the number is not zero.</summary>
    public static Status ConvertToManaged(int code)
    {
        if (code != 0) TorchException.Throw(code);
        return default;
    }
}
