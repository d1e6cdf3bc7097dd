using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace Peft.Cli.Tests.Support;

/// <summary>
/// The built program as a process of its own: the one that <c>make test</c> published (variable PEFT_PROGRAM), as users
/// have it and quicker to start; where tests are run by other means, the peft.dll that the build puts beside the test
/// assembly, always that of the sources under test.
/// </summary>
internal sealed class PeftProcess : IDisposable
{
    public const int Interrupt = 2;  // SIGINT
    public const int KillNow = 9;    // SIGKILL
    public const int Terminate = 15; // SIGTERM

    // For a machine that is busy with other things; a run here takes a second or two.
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(5);

    private static readonly string Program = Environment.GetEnvironmentVariable("PEFT_PROGRAM") is { Length: > 0 } given
        ? given : Path.Combine(AppContext.BaseDirectory, "peft.dll");

    private readonly Process _process;
    private readonly string _commandLine;
    private readonly Task<string> _output;
    private readonly Task _errorEnd;
    private readonly StringBuilder _error = new();
    private readonly object _gate = new();

    private PeftProcess(Process process, string commandLine)
    {
        (_process, _commandLine) = (process, commandLine);
        _output = process.StandardOutput.ReadToEndAsync();
        _errorEnd = Task.Run(ReadError);
    }

    /// <summary>Runs the program to its end.</summary>
    public static ProgramRun Run(TempFolder folder, params string[] words) => Run(folder, new(), words);

    /// <summary>Runs the program to its end with a text on standard input or other variables.</summary>
    public static ProgramRun Run(TempFolder folder, Surroundings surroundings, params string[] words)
    {
        using var process = Start(folder, surroundings, words);
        return process.Wait();
    }

    /// <summary>Starts the program.</summary>
    public static PeftProcess Start(TempFolder folder, Surroundings surroundings, params string[] words)
    {
        var start = new ProcessStartInfo("env")
        {
            WorkingDirectory = folder.Path,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = new UTF8Encoding(false),
            StandardErrorEncoding = new UTF8Encoding(false),
        };
        // A test run in the background of a shell inherits an ignored SIGINT.
        foreach (
            var word in (string[])["--default-signal=INT,TERM", .. surroundings.Prefix, DotNet(), Program, .. words])
            start.ArgumentList.Add(word);
        // One thread: the models are tiny, the numbers then do not depend on the machine, and tests can run side by
        // side.
        start.Environment["DOTNET_PROCESSOR_COUNT"] = "1";
        start.Environment["OMP_NUM_THREADS"] = "1";
        start.Environment.Remove("MAKELEVEL"); // make test sets it
        foreach (var (name, value) in surroundings.Variables)
            start.Environment[name] = value;
        var process = Process.Start(start)!;
        var running = new PeftProcess(process, "peft " + string.Join(' ', words));
        running.Feed(surroundings.Input, !surroundings.KeepsInputOpen);
        return running;
    }

    /// <summary>Waits until a line on standard error holds a text.</summary>
    public void WaitFor(string text)
    {
        var end = DateTime.UtcNow + Longest;
        lock (_gate)
        {
            while (!_error.ToString().Contains(text, StringComparison.Ordinal))
            {
                if (_errorEnd.IsCompleted || DateTime.UtcNow > end)
                    Assert.Fail($"{_commandLine}: '{text}' did not come; standard error:\n{_error}");
                Monitor.Wait(_gate, TimeSpan.FromSeconds(1));
            }
        }
    }

    /// <summary>The last line of standard input.</summary>
    public void End(string line) => Feed(Encoding.UTF8.GetBytes(line + "\n"), closes: true);

    /// <summary>Sends a signal.</summary>
    public void Send(int signal) => Assert.Equal(0, SendSignal(_process.Id, signal));

    /// <summary>Sends a signal to a process that may have ended already.</summary>
    public void TrySend(int signal) => _ = SendSignal(_process.Id, signal);

    /// <summary>Sends a signal to any process; 0 where it was sent.</summary>
    public static int SendTo(int process, int signal) => SendSignal(process, signal);

    /// <summary>Waits for the end.</summary>
    public ProgramRun Wait()
    {
        if (!_process.WaitForExit(Longest))
        {
            _process.Kill(entireProcessTree: true);
            Assert.Fail($"{_commandLine}: not done after {Longest}; standard error:\n{_error}");
        }
        _errorEnd.Wait();
        return new(_commandLine, _process.ExitCode, _output.Result, _error.ToString());
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        _process.Dispose();
    }

    private void Feed(byte[] input, bool closes)
    {
        try
        {
            _process.StandardInput.BaseStream.Write(input);
            if (closes)
                _process.StandardInput.Close();
            else
                _process.StandardInput.BaseStream.Flush();
        }
        catch (IOException)
        {
            // The program ended before it had read everything, which a test may want.
        }
    }

    private void ReadError()
    {
        while (_process.StandardError.ReadLine() is { } line)
        {
            lock (_gate)
            {
                _error.Append(line).Append('\n');
                Monitor.PulseAll(_gate);
            }
        }
    }

    // The dotnet that runs the tests.
    public static string DotNet() => Environment.GetEnvironmentVariable("DOTNET_HOST_PATH")
        ?? (Path.GetFileName(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : "dotnet");

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int SendSignal(int process, int signal);
}

/// <summary>What a process of the program finds: standard input, variables beside the test's own, limits.</summary>
internal sealed record Surroundings
{
    public byte[] Input { get; init; } = [];

    public IReadOnlyDictionary<string, string> Variables { get; init; } = new Dictionary<string, string>();

    /// <summary>Whether further lines of standard input come later.</summary>
    public bool KeepsInputOpen { get; init; }

    /// <summary>A program that starts it, e.g. prlimit.</summary>
    public string[] Prefix { get; init; } = [];

    public static Surroundings WithInput(params string[] lines) =>
        new() { Input = Encoding.UTF8.GetBytes(string.Concat(lines.Select(l => l + "\n"))) };

    public static Surroundings With(string variable, string value) =>
        new() { Variables = new Dictionary<string, string> { [variable] = value } };
}
