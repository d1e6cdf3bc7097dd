using System.Runtime.InteropServices;
using Peft.Cli.Printing;
using Peft.Training;

namespace Peft.Cli;

/// <summary>Ctrl-C and SIGTERM ask the loop to save and stop; a second one ends the program at once.</summary>
public sealed class Signals : IDisposable
{
    private const PosixSignal FileSizeExceeded = (PosixSignal)25; // SIGXFSZ

    private readonly List<PosixSignalRegistration> _registrations = [];

    /// <summary>Listens until disposed.</summary>
    /// <param name="stop">What is asked to stop.</param>
    /// <param name="output">Where it is said.</param>
    /// <param name="words">What is said.</param>
    public Signals(StopRequest stop, Output output, string words = "stopping: this step is finished and saved first (once more: stop without saving)")
    {
        foreach (var signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM })
            _registrations.Add(PosixSignalRegistration.Create(signal, context =>
            {
                if (stop.IsRequested)
                    return;
                context.Cancel = true;
                stop.Request();
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
