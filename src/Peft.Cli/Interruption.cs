using Peft.Cli.Printing;

namespace Peft.Cli;

/// <summary>Ctrl-C and SIGTERM end what writes a directory as a whole, before its name is given; a second one ends the program at once.</summary>
public sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly Signals _signals;

    /// <summary>Listens until disposed.</summary>
    public Interruption(Output output) => _signals = new Signals(
        () => _source.IsCancellationRequested, _source.Cancel, output, "stopping: what was written so far is removed (once more: stop at once)");

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Stops listening.</summary>
    public void Dispose()
    {
        _signals.Dispose();
        _source.Dispose();
    }
}
