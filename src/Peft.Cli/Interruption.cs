using System.Runtime.InteropServices;
using Peft.Cli.Printing;

namespace Peft.Cli;

/// <summary>Ctrl-C and SIGTERM end what writes a directory as a whole, before its name is given; a second one ends the program at once.</summary>
public sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly List<PosixSignalRegistration> _registrations = [];

    /// <summary>Listens until disposed.</summary>
    public Interruption(Output output)
    {
        ArgumentNullException.ThrowIfNull(output);
        foreach (var signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM })
            _registrations.Add(PosixSignalRegistration.Create(signal, context =>
            {
                if (_source.IsCancellationRequested)
                    return;
                context.Cancel = true;
                output.Say("\nstopping: what was written so far is removed (once more: stop at once)");
                _source.Cancel();
            }));
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Stops listening.</summary>
    public void Dispose()
    {
        _registrations.ForEach(registration => registration.Dispose());
        _source.Dispose();
    }
}
