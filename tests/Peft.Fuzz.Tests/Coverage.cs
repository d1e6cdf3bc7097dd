using System.Diagnostics;
using System.Runtime.InteropServices;
using SharpFuzz;
using Trace = SharpFuzz.Common.Trace;

namespace Peft.Fuzz.Tests;

/// <summary>
/// Which branches an input went through, counted by code that SharpFuzz put into copies of our assemblies. An input
/// that
/// goes where none before it went is worth changing further. Everything is managed code; no fuzzer of another program
/// takes part.
/// </summary>
internal sealed unsafe class Coverage
{
    private const int Size = 1 << 16; // SharpFuzz's map
    private static readonly string[] Instrumented =
        ["Peft.Formats", "Peft.Data", "Peft.Models", "Peft.Adapters", "Peft.Training", "Peft.Evaluation",
            "Peft.Recipes"];

    private readonly byte* _map = (byte*)NativeMemory.AllocZeroed(Size);
    private readonly byte[] _seen = new byte[Size];

    /// <summary>
    /// Takes the counts of this process; before any instrumented code runs, which would write to nowhere.
    /// </summary>
    public Coverage() => Trace.SharedMem = _map;

    /// <summary>Copies this program, puts the counters into the copy and runs it.</summary>
    /// <param name="folder">Where the copy goes.</param>
    /// <param name="args">Its arguments.</param>
    /// <returns>Its exit code.</returns>
    public static int RunInstrumented(string folder, IEnumerable<string> args)
    {
        var here = AppContext.BaseDirectory;
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
        Directory.CreateDirectory(folder);
        foreach (var file in Directory.EnumerateFiles(here))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        foreach (var inner in Directory.EnumerateDirectories(here))
            Directory.CreateSymbolicLink(Path.Combine(folder, Path.GetFileName(inner)), inner);
        foreach (var assembly in Instrumented)
            Fuzzer.Instrument(Path.Combine(folder, assembly + ".dll"), _ => true, Options.Value);
        var program = typeof(Coverage).Assembly.GetName().Name;
        using var process = Process.Start(
            new ProcessStartInfo(Path.Combine(folder, program!), args) { UseShellExecute = false })!;
        process.WaitForExit();
        return process.ExitCode;
    }

    /// <summary>Forgets what earlier inputs reached: another reader begins.</summary>
    public void Forget() => Array.Clear(_seen);

    /// <summary>An input begins.</summary>
    public void Begin()
    {
        new Span<byte>(_map, Size).Clear();
        Trace.PrevLocation = 0;
    }

    /// <summary>Whether the input went through a branch that none had gone through, or much more often.</summary>
    public bool IsNew()
    {
        var isNew = false;
        var words = new ReadOnlySpan<ulong>(_map, Size / sizeof(ulong));
        for (var word = 0; word < words.Length; word++)
        {
            if (words[word] == 0)
                continue;
            for (var at = word * sizeof(ulong); at < (word + 1) * sizeof(ulong); at++)
            {
                var bit = Often(_map[at]);
                isNew |= (_seen[at] & bit) != bit;
                _seen[at] |= bit;
            }
        }

        return isNew;
    }

    // A bit for each of: 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more.
    private static byte Often(byte count) => count switch
    {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        < 8 => 8,
        < 16 => 16,
        < 32 => 32,
        < 128 => 64,
        _ => 128,
    };
}
