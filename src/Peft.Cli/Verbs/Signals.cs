using System.Diagnostics;
using System.Runtime.InteropServices;
using Peft.Cli.Printing;
using Peft.Training;

namespace Peft.Cli.Verbs;

/// <summary>Ctrl-C and SIGTERM ask what runs to stop; a later Ctrl-C ends the program at once.</summary>
/// <remarks>
/// One wish may come several times: <c>timeout</c> and <c>make</c> each send a SIGTERM, and a terminal and a program in
/// between each pass a Ctrl-C on. So a SIGTERM never ends at once, and a Ctrl-C only some time after the first signal.
/// </remarks>
public sealed class Signals : IDisposable
{
    private static readonly TimeSpan OneKeyPress = TimeSpan.FromSeconds(0.5);
    private const PosixSignal FileSizeExceeded = (PosixSignal)25; // SIGXFSZ

    // Held until the process ends: a signal is answered on another thread, perhaps after its write was reported.
    private static PosixSignalRegistration? _fileSize;

    private readonly List<PosixSignalRegistration> _registrations = [];

    /// <summary>Listens until disposed.</summary>
    /// <param name="stop">What is asked to stop.</param>
    /// <param name="output">Where it is said.</param>
    /// <param name="words">What is said.</param>
    public Signals(
        StopRequest stop, Output output,
        string words = "stopping: finishing and saving this step first (press Ctrl-C again to stop without saving)")
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
        var (gate, first) = (new Lock(), 0L);
        foreach (var signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM })
            _registrations.Add(PosixSignalRegistration.Create(signal, context =>
            {
                lock (gate)
                {
                    if (isRequested())
                    {
                        context.Cancel = signal == PosixSignal.SIGTERM || Stopwatch.GetElapsedTime(first) < OneKeyPress;
                        return;
                    }
                    context.Cancel = true;
                    first = Stopwatch.GetTimestamp();
                    // Before anything is said: nobody may be reading.
                    request();
                }
                output.Say("\n" + words);
            }));
    }

    /// <summary>Makes a write beyond the largest allowed file an error of that write.</summary>
    public static void IgnoreFileSize() =>
        _fileSize ??= PosixSignalRegistration.Create(FileSizeExceeded, context => context.Cancel = true);

    /// <summary>Stops listening.</summary>
    public void Dispose() => _registrations.ForEach(r => r.Dispose());
}

/// <summary>Ctrl-C and SIGTERM end what writes a directory as a whole, before its name is given.</summary>
public sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly Signals _signals;

    /// <summary>Listens until disposed.</summary>
    public Interruption(Output output) => _signals = new Signals(
        () => _source.IsCancellationRequested, _source.Cancel, output,
        "stopping: removing what was written so far (press Ctrl-C again to stop at once)");

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Stops listening.</summary>
    public void Dispose()
    {
        _signals.Dispose();
        _source.Dispose();
    }
}

/// <summary>The end of the process without the destructors of its libraries, which take down what the kernel takes down
/// at once: libtorch's take a tenth of a second.</summary>
internal sealed partial class ProcessEnd
{
    private const int AttributesSize = 60; // glibc's termios

    // To be made before the runtime touches it.
    private readonly byte[] _terminal = Terminal();

    /// <summary>Whether destructors run: libraries of a launcher clean up in theirs what ranks share.</summary>
    public bool IsOrdinary { get; set; }

    /// <summary>Ends the process with this code. Returns where destructors must run, as the runtime's where it has
    /// changed the terminal.</summary>
    public void Leave(int code)
    {
        if (IsOrdinary || !Terminal().AsSpan().SequenceEqual(_terminal))
            return;
        _ = Flush(0);
        Exit(code);
    }

    // All zero where standard input is no terminal.
    private static byte[] Terminal()
    {
        var attributes = new byte[AttributesSize];
        _ = GetAttributes(0, attributes);
        return attributes;
    }

    [LibraryImport("libc", EntryPoint = "tcgetattr")]
    private static partial int GetAttributes(int descriptor, [Out] byte[] attributes);

    // Of every stream of C's.
    [LibraryImport("libc", EntryPoint = "fflush")]
    private static partial int Flush(nint stream);

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void Exit(int code);
}

/// <summary>Ctrl-C stops what is written now, not the program.</summary>
internal sealed class AnswerSignals : IDisposable
{
    private readonly PosixSignalRegistration _registration;

    /// <summary>Listens until disposed.</summary>
    public AnswerSignals(Action stop) => _registration = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
    {
        context.Cancel = true;
        stop();
    });

    /// <summary>Stops listening.</summary>
    public void Dispose() => _registration.Dispose();
}
