using System.Globalization;

namespace Peft.Fuzz.Tests;

/// <summary>`make fuzz`: many inputs, shared out among all readers; what was found is printed and saved.</summary>
internal static class Program
{
    private const string Usage =
        "usage: Peft.Fuzz.Tests [--count N] [--seed S] [--output DIR] [--parser NAME] [--guide on|off] [--replay FILE]";

    // What the instrumented copy is started with in place of on.
    private const string Inside = "inside";

    public static int Main(string[] args)
    {
        var (count, seed, output, only, replay) = (1_000_000L, 1L, ".artifacts/fuzz", "", "");
        // Before anything else: instrumented code counts from its first branch on.
        var coverage = args.Contains(Inside) ? new Coverage() : null;
        var guide = "on";
        for (var i = 0; i < args.Length; i += 2)
        {
            var value = i + 1 < args.Length ? args[i + 1] : "";
            var isKnown = args[i] switch
            {
                "--count" => long.TryParse(value, CultureInfo.InvariantCulture, out count) && count > 0,
                "--seed" => long.TryParse(value, CultureInfo.InvariantCulture, out seed),
                "--output" => (output = value).Length > 0,
                "--parser" => FuzzParsers.All.Any(parser => parser.Name == (only = value)),
                "--guide" => (guide = value) is "on" or "off" or Inside,
                "--replay" => File.Exists(replay = value),
                _ => false,
            };
            if (isKnown)
                continue;
            Console.Error.WriteLine(
                $"{args[i]} {value}: {Usage}; parsers: "
                    + $"{string.Join(", ", FuzzParsers.All.Select(parser => parser.Name))}");
            return 2;
        }

        var chosen = FuzzParsers.All.Where(parser => only.Length == 0 || parser.Name == only).ToList();
        if (guide == "on" && replay.Length == 0)
        {
            return Coverage.RunInstrumented(
                Path.Combine(Path.GetFullPath(output), "instrumented"), [.. args, "--guide", Inside]);
        }

        var driver = new FuzzDriver(Path.GetFullPath(output), seed) { Coverage = coverage };
        return replay.Length > 0 ? Replay(driver, chosen, replay) : Run(driver, chosen, count);
    }

    private static int Run(FuzzDriver driver, List<FuzzParser> parsers, long count)
    {
        Console.WriteLine(
            $"{"parser",-12} {"inputs",9} {"inputs/s",9} {"accepted",9} {"slowest ms",11} {"most MB",9} "
            + $"{"findings",9}");
        var findings = new List<Finding>();
        foreach (var parser in parsers)
        {
            var outcome = driver.Run(parser, Math.Max(1, count / parsers.Count));
            findings.AddRange(outcome.Findings);
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{parser.Name,-12} {outcome.Inputs,9:N0} {outcome.Inputs / outcome.Seconds,9:N0} "
                    + $"{outcome.Accepted,9:N0} {outcome.SlowestMilliseconds,11:N1} "
                    + $"{outcome.MostAllocated / 1e6,9:N1} {outcome.Findings.Count,9}"));
        }

        foreach (var finding in findings)
            Console.WriteLine($"\n{finding}");
        Console.WriteLine(findings.Count == 0 ? "\nno findings" : $"\n{findings.Count} findings");
        return findings.Count == 0 ? 0 : 1;
    }

    private static int Replay(FuzzDriver driver, List<FuzzParser> parsers, string file)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        Exception? error = null;
        try
        {
            driver.Replay(parsers[0], File.ReadAllBytes(file));
        }
        catch (Exception e)
        {
            error = e;
        }

        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Console.WriteLine(error?.ToString() ?? "accepted");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{allocated:N0} bytes allocated"));
        return error is null ? 0 : 1;
    }
}
