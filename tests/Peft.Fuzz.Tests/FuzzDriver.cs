using System.Diagnostics;
using System.Text;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Fuzz.Tests;

/// <summary>
/// Feeds mutated inputs to a reader and notes what must not happen: any exception but <see cref="UserException"/>, an
/// input that takes longer than the limit, one that takes more memory than its size explains. The reader runs on a
/// thread of its own with the stack that threads have by default, so that deep recursion shows.
/// </summary>
/// <param name="folder">Where inputs are written and findings kept.</param>
/// <param name="seed">Same seed, same inputs.</param>
internal sealed class FuzzDriver(string folder, long seed)
{
    private const int StackBytes = 1 << 20;
    private const int FindingsKept = 20;
    private const int LongestKept = 1 << 14; // bytes: short inputs are changed where it matters more often
    private const int MostInputsKept = 5000;

    /// <summary>Most processor time for one input; a regular expression alone may search for 30 seconds before it is
    /// refused.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Most time by the clock for one input: long, since a machine may be busy with other things.</summary>
    public TimeSpan ClockLimit { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>Bytes that any input may make a reader allocate, whatever its size.</summary>
    public long AllocationBase { get; init; } = 48L << 20;

    /// <summary>Bytes that each byte of an input may make a reader allocate besides.</summary>
    public long AllocationPerByte { get; init; } = 2048;

    /// <summary>Tells which inputs reached new code; null where the readers are not instrumented.</summary>
    public Coverage? Coverage { get; init; }

    /// <summary>Runs inputs <paramref name="first"/> to <paramref name="first"/> + <paramref name="count"/> -
    /// 1.</summary>
    public FuzzOutcome Run(FuzzParser parser, long count, long first = 0)
    {
        var work = Path.Combine(folder, "work", $"{parser.Name}-{Environment.ProcessId}");
        Directory.CreateDirectory(work);
        parser.Prepare(work);
        var run = new State(parser, work);
        Coverage?.Forget();
        var thread = new Thread(() => Loop(run, first, count), StackBytes) { IsBackground = true };
        var clock = Stopwatch.StartNew();
        thread.Start();
        while (!thread.Join(TimeSpan.FromMilliseconds(50)))
        {
            if (run.Begun is not { } begun || ProcessorTime() - begun.Processor < Limit
                && Stopwatch.GetElapsedTime(begun.Clock) < ClockLimit)
                continue;
            // The thread cannot be stopped; it ends with the process.
            run.Note(
                "hang", begun.Number,
                $"not done after {(ProcessorTime() - begun.Processor).TotalSeconds:F1} s of processor time",
                begun.Input);
            return run.Outcome(clock.Elapsed, Save);
        }

        Directory.Delete(work, recursive: true);
        return run.Outcome(clock.Elapsed, Save);
    }

    /// <summary>The input of a number.</summary>
    public byte[] InputOf(FuzzParser parser, long number)
    {
        var random = new Random(Mix(parser.Name, number));
        return Mutator.Mutate(parser, random);
    }

    /// <summary>Reads one input that was saved; throws what the reader throws.</summary>
    public void Replay(FuzzParser parser, byte[] input)
    {
        var work = Directory.CreateTempSubdirectory("peft-fuzz-").FullName;
        try
        {
            parser.Prepare(work);
            Write(parser, work, input);
            parser.Read(work, input);
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    private void Loop(State run, long first, long count)
    {
        var kept = new List<byte[]>();
        for (var number = first; number < first + count && run.Kinds < FindingsKept; number++)
        {
            var input = Mutator.Mutate(run.Parser, new Random(Mix(run.Parser.Name, number)), kept);
            Write(run.Parser, run.Folder, input);
            Coverage?.Begin();
            var begun = new Begun(number, input, ProcessorTime(), Stopwatch.GetTimestamp());
            run.Begun = begun;
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                run.Parser.Read(run.Folder, input);
                run.Accepted++;
            }
            catch (UserException)
            {
            }
            catch (Exception error)
            {
                run.Note(Where(error), number, error.ToString(), input);
            }

            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            run.Begun = null;
            if (Coverage?.IsNew() == true && input.Length <= LongestKept && kept.Count < MostInputsKept)
                kept.Add(input);
            run.Count((ProcessorTime() - begun.Processor).TotalMilliseconds, allocated);
            if (allocated > AllocationBase + AllocationPerByte * input.Length)
                run.Note("memory", number, $"{allocated:N0} bytes allocated for an input of {input.Length:N0}", input);
        }
    }

    private static void Write(FuzzParser parser, string work, byte[] input)
    {
        if (parser.FileName is { } name)
            File.WriteAllBytes(Path.Combine(work, name), input);
    }

    // What was thrown and the first place in it that is ours.
    private static string Where(Exception error)
    {
        var frames = new StackTrace(error).GetFrames().Select(frame => frame.GetMethod()).ToList();
        var ours = frames.Find(
            method => method?.DeclaringType?.FullName?.StartsWith("Peft.", StringComparison.Ordinal) == true);
        return $"crash {error.GetType().Name} in {ours?.DeclaringType?.Name}.{ours?.Name}";
    }

    private string Save(State run, string kind, byte[] input)
    {
        var name = new string([.. kind.Select(c => char.IsLetterOrDigit(c) || c == '.' ? c : '-')]);
        var path = Path.Combine(folder, run.Parser.Name, $"{name}-{Sha256.OfBytes(input)[..8]}.bin");
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, input);
        return path;
    }

    // FNV-1a over the three, so that every process makes the same inputs.
    private int Mix(string name, long number)
    {
        var hash = 14695981039346656037UL;
        foreach (var value in Encoding.UTF8.GetBytes($"{seed} {name} {number}"))
            hash = (hash ^ value) * 1099511628211;
        return (int)(hash ^ (hash >> 32));
    }

    // Of the whole process: nothing else of weight runs in it.
    private static TimeSpan ProcessorTime() => Environment.CpuUsage.TotalTime;

    private sealed record Begun(long Number, byte[] Input, TimeSpan Processor, long Clock);

    private sealed class State(FuzzParser parser, string folder)
    {
        private readonly Dictionary<string, (long Number, string Detail, byte[] Input)> _found = [];
        private double _slowest; // milliseconds
        private long _most;
        private long _inputs;

        private volatile Begun? _begun;

        // The input at hand; null between inputs.
        public Begun? Begun
        {
            get => _begun;
            set => _begun = value;
        }

        public FuzzParser Parser => parser;

        public string Folder => folder;

        public long Accepted { get; set; }

        public int Kinds
        {
            get
            {
                lock (_found)
                    return _found.Count;
            }
        }

        public void Note(string kind, long number, string detail, byte[] input)
        {
            lock (_found)
                _found.TryAdd(kind, (number, detail, input));
        }

        public void Count(double milliseconds, long allocated)
        {
            _inputs++;
            _slowest = Math.Max(_slowest, milliseconds);
            _most = Math.Max(_most, allocated);
        }

        public FuzzOutcome Outcome(TimeSpan elapsed, Func<State, string, byte[], string> save)
        {
            lock (_found)
            {
                return new FuzzOutcome(
                    _inputs, Accepted, elapsed.TotalSeconds, _slowest, _most, [.. _found.Select(pair =>
                    new Finding(
                        parser.Name, pair.Key, pair.Value.Number, pair.Value.Detail,
                        save(this, pair.Key, pair.Value.Input)))]);
            }
        }
    }
}

/// <summary>One reader of text from strangers, and valid inputs to start from.</summary>
/// <param name="Name">Short name for tables and folders.</param>
/// <param name="Seeds">Inputs that it reads without an error.</param>
/// <param name="Read">Reads the input and uses what came of it. Gets the folder and the input; a <c>UserException</c>
/// is right, any other exception a finding.</param>
internal sealed record FuzzParser(string Name, IReadOnlyList<byte[]> Seeds, Action<string, byte[]> Read)
{
    /// <summary>The file in the folder that the input is written to; null where it is no file.</summary>
    public string? FileName { get; init; }

    /// <summary>Writes the files beside which the input lies, once.</summary>
    public Action<string> Prepare { get; init; } = _ => { };

    /// <summary>Where the text that deserves structure-aware mutation begins and ends; null for all of the
    /// input.</summary>
    public Func<byte[], (int Start, int End)>? TextOf { get; init; }

    /// <summary>Makes lengths true again after the text was changed.</summary>
    public Func<byte[], int, byte[]> Mend { get; init; } = (input, _) => input;
}

/// <summary>An input that a reader did not take as it should.</summary>
/// <param name="Parser">The reader.</param>
/// <param name="Kind">crash, hang or memory; for a crash also what was thrown and where, so that equal ones count as
/// one.</param>
/// <param name="Number">Number of the input, from 0: with the seed it makes the same input again.</param>
/// <param name="Detail">The whole error.</param>
/// <param name="File">Where the input was saved.</param>
internal sealed record Finding(string Parser, string Kind, long Number, string Detail, string File)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Parser} input {Number}: {Kind}; saved as {File}\n{Detail}";
}

/// <summary>The results of one parser.</summary>
/// <param name="Inputs">Inputs read.</param>
/// <param name="Accepted">Those without an error.</param>
/// <param name="Seconds">Time for all, making and writing them included.</param>
/// <param name="SlowestMilliseconds">Processor time of the slowest.</param>
/// <param name="MostAllocated">Bytes that the hungriest took.</param>
/// <param name="Findings">One of each kind.</param>
internal sealed record FuzzOutcome(
    long Inputs, long Accepted, double Seconds, double SlowestMilliseconds, long MostAllocated,
    IReadOnlyList<Finding> Findings);
