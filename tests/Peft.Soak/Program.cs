using System.Globalization;
using Peft.Cli.Tests.Crash;

namespace Peft.Soak;

/// <summary>The long checks behind <c>make soak</c>.</summary>
public static class Program
{
    /// <summary>Ends with 0 when everything held.</summary>
    public static int Main(string[] args)
    {
        try
        {
            return args switch
            {
                ["kills", var count] => Kill(Number(count), Environment.TickCount & 0xFFFF),
                ["kills", var count, var seed] => Kill(Number(count), Number(seed)),
                ["memory", var minutes, var recipe] =>
                    MemorySoak.Run(double.Parse(minutes, CultureInfo.InvariantCulture), recipe),
                _ => throw new ArgumentException("kills COUNT [SEED], or memory MINUTES RECIPE"),
            };
        }
        catch (Exception error)
        {
            Console.WriteLine($"FAILED: {error.Message}");
            return 1;
        }
    }

    private static int Kill(int count, int seed)
    {
        Console.WriteLine($"{count} kills, seed {seed}");
        using var rounds = new CrashRounds(seed, isTimed: true, Console.WriteLine);
        Console.WriteLine($"a whole run renames {rounds.RenamesLeft} files into place");
        rounds.Run(count);
        Console.WriteLine(
            $"{count} kills: every bundle and checkpoint verified, every life ended in the bytes of a run that was not "
            + $"killed; "
            + $"{rounds.RenamesLeft} renames were not struck");
        return 0;
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
