using System.Diagnostics.CodeAnalysis;
using Peft.Torch.Interop;

namespace Peft.Torch;

/// <summary>An operation that libtorch refused: <see cref="Operation"/> and libtorch's own words.</summary>
public sealed class TorchException : Exception
{
    /// <summary>An exception for an operation, with libtorch's message.</summary>
    public TorchException(string operation, string message)
        : this(operation, message, isOutOfMemory: false)
    {
    }

    private TorchException(string operation, string message, bool isOutOfMemory)
        : base(operation.Length == 0 ? message : $"{operation}: {message}")
    {
        Operation = operation;
        IsOutOfMemory = isOutOfMemory;
    }

    /// <summary>The operation's name, such as <c>matmul</c>.</summary>
    public string Operation { get; }

    /// <summary>True when memory ran out, on the host or on a device.</summary>
    public bool IsOutOfMemory { get; }

    /// <summary>Throws for a status number, with the calling thread's native message.</summary>
    [DoesNotReturn]
    internal static void Throw(int code)
    {
        var text = NativeText.LastError();
        var colon = text.IndexOf(": ", StringComparison.Ordinal);
        var operation = colon > 0 ? text[..colon] : "";
        var message = colon > 0 ? text[(colon + 2)..] : text;
        var outOfMemory = code == StatusMarshaller.OutOfMemory
            || message.Contains("out of memory", StringComparison.OrdinalIgnoreCase)
            || message.Contains("can't allocate memory", StringComparison.OrdinalIgnoreCase);
        throw new TorchException(operation, message.Length == 0 ? "out of memory" : message, outOfMemory);
    }
}
