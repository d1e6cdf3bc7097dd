using System.Runtime.InteropServices;
using Peft.Distributed;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Training;

namespace Peft.Cli.Verbs;

/// <summary>What the user is told of an exception, and the exit code.</summary>
internal static class Failures
{
    /// <summary>The words and the code.</summary>
    public static (string Text, int ExitCode) Describe(Exception error) => Known(error) ?? (
        $"peft failed: {error.GetType().Name}: "
            + (error is ExternalException native ? TorchErrors.Words(native) : error.Message), ExitCode.Failure);

    /// <summary>Whether it is a fault of the program.</summary>
    public static bool IsOurs(Exception error) => Known(error) is null;

    private static (string Text, int ExitCode)? Known(Exception error) => error switch
    {
        UserException => (
            error.Message, error is FileOperationException { IsFull: true } ? ExitCode.Failure : ExitCode.UserMistake),
        AgreedException agreed => (agreed.Message, agreed.ExitCode),
        _ when NativeLibraryException.Within(error) is { } missing => (missing.Message, ExitCode.UserMistake),
        ExternalException native when TorchErrors.MemoryAdvice(native) is { } advice => (advice, ExitCode.UserMistake),
        OperationCanceledException => ("interrupted; nothing was written", ExitCode.Interrupted),
        NonFiniteLossException or CommunicationException => (error.Message, ExitCode.Failure),
        // A disk that fills up or is taken away while a run goes on; what is written at once is reported by its writer.
        IOException or UnauthorizedAccessException => (
            $"{error.Message.TrimEnd('.')}. Check the free space and the permissions there.", ExitCode.UserMistake),
        _ => null,
    };
}
