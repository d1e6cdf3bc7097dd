using System.Runtime.InteropServices;
using Peft.Cli.Printing;
using Peft.Training;

namespace Peft.Cli;

/// <summary>Ctrl-C and SIGTERM ask for the end of what runs; a second one ends the program at once.</summary>
public sealed class Signals : IDisposable
{
    private const PosixSignal FileSizeExceeded = (PosixSignal)25; // SIGXFSZ

    private readonly List<PosixSignalRegistration> _registrations = [];

    /// <summary>Listens until disposed.</summary>
    /// <param name="stop">What is asked to stop.</param>
    /// <param name="output">Where it is said.</param>
    /// <param name="words">What is said.</param>
    public Signals(StopRequest stop, Output output, string words = "stopping: this step is finished and saved first (once more: stop without saving)")
        : this(() => stop.IsRequested, stop.Request, output, words)
    {
    }

    /// <summary>Listens until disposed.</summary>
    /// <param name="isRequested">Whether stopping was asked for before.</param>
    /// <param name="request">Asks for it.</param>
    /// <param name="output">Where it is said.</param>
    /// <param name="words">What is said.</param>
    public Signals(Func<bool> isRequested, Action request, Output output, string words)
    {
        foreach (var signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM })
            _registrations.Add(PosixSignalRegistration.Create(signal, context =>
            {
                if (isRequested())
                    return;
                context.Cancel = true;
                // Before anything is said: nobody may be reading.
                request();
                output.Say("\n" + words);
            }));
    }

    // Held until the process ends: a signal is answered on another thread, perhaps after the write that caused it was reported.
    private static PosixSignalRegistration? _fileSize;

    /// <summary>Makes a write beyond the largest allowed file an error of that write.</summary>
    public static void IgnoreFileSize() =>
        _fileSize ??= PosixSignalRegistration.Create(FileSizeExceeded, context => context.Cancel = true);

    /// <summary>Stops listening.</summary>
    public void Dispose() => _registrations.ForEach(r => r.Dispose());
}
