using System.Globalization;

namespace Peft.Compare;

/// <summary>What the command line asks for.</summary>
/// <param name="Studies">The studies.</param>
/// <param name="Seeds">Seeds of each.</param>
/// <param name="Jobs">Runs at once.</param>
/// <param name="Output">Where runs, and what is not recorded, go.</param>
/// <param name="IsQuick">A look of some minutes: fewer steps, seeds and rows.</param>
/// <param name="Records">Whether results are recorded in the repository.</param>
/// <param name="OnlyRenders">Whether tables are made of what is recorded, and nothing is trained.</param>
/// <param name="AsksForRates">Whether learning rates are asked to be chosen anew.</param>
/// <param name="Adds">Whether the seeds behind those that are recorded are added to them, on the same base and at the
/// recorded rates: a study can be made in several sittings.</param>
internal sealed record Asked(
    IReadOnlyList<Study> Studies, int Seeds, int Jobs, string Output, bool IsQuick, bool Records, bool OnlyRenders,
    bool AsksForRates, bool Adds)
{
    /// <summary>Whether learning rates are chosen anew, or read from what is recorded.</summary>
    public bool Chooses => AsksForRates || Records && !Adds;

    private const string All = "all";
    private const int QuickSeeds = 2;
    private const string Usage =
        "usage: Peft.Compare [--studies a,b or all] [--seeds N] [--jobs N] [--output DIR] [--quick] [--record] "
        + "[--add] [--render] [--choose-rates]";

    /// <summary>Reads the words; null after saying what is wrong with them.</summary>
    public static Asked? Parse(IReadOnlyList<string> args)
    {
        var asked = new Asked(
            [.. Plan.Studies.Where(study => study.IsUsual)], 5, Environment.ProcessorCount, ".artifacts/compare",
            false, false, false, false, false);
        for (var i = 0; i < args.Count; i++)
        {
            var (word, value) = (args[i], i + 1 < args.Count ? args[i + 1] : "");
            var next = word switch
            {
                "--quick" => asked with { IsQuick = true, Seeds = QuickSeeds },
                "--record" => asked with { Records = true },
                "--add" => asked with { Records = true, Adds = true },
                "--render" => asked with { OnlyRenders = true },
                "--choose-rates" => asked with { AsksForRates = true },
                "--studies" when Named(value) is { } studies => asked with { Studies = studies },
                "--seeds" when Count(value) is { } seeds => asked with { Seeds = seeds },
                "--jobs" when Count(value) is { } jobs => asked with { Jobs = jobs },
                "--output" when value.Length > 0 => asked with { Output = value },
                _ => null,
            };
            if (next is null or { IsQuick: true, Records: true } or { IsQuick: true, Chooses: true }
                or { Adds: true, Chooses: true })
            {
                Console.Error.WriteLine($"{word} {value}: {Usage}; studies: "
                    + $"{string.Join(", ", Plan.Studies.Select(study => study.Name))}; a quick look is not recorded "
                    + "and chooses no rates, and neither does what is added");
                return null;
            }
            i += word is "--studies" or "--seeds" or "--jobs" or "--output" ? 1 : 0;
            asked = next;
        }
        return asked;
    }

    /// <summary>The seeds to make, where some are recorded.</summary>
    public IEnumerable<int> SeedsBeyond(IReadOnlyList<Measured> recorded)
    {
        var last = recorded.Select(run => run.Seed).DefaultIfEmpty().Max();
        return Enumerable.Range(last + 1, Math.Max(0, Seeds - last));
    }

    private static int? Count(string value) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count > 0 ? count : null;

    private static IReadOnlyList<Study>? Named(string value)
    {
        if (value == All)
            return Plan.Studies;
        var names = value.Split(',');
        var found = Plan.Studies.Where(study => names.Contains(study.Name)).ToList();
        return found.Count == names.Length ? found : null;
    }
}
