using System.Globalization;
using System.Text.Json;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Recipes.Transfer;

namespace Peft.Cli.Verbs;

/// <summary>An adapter goes to the Hugging Face world.</summary>
[Verb("adapter-export", HelpText = "Write an adapter for Hugging Face PEFT, or a merged model.")]
public sealed class ExportVerb : IVerb
{
    private const int ModulesShown = 10;

    private static readonly JsonSerializerOptions JsonForm = new()
    {
        WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
    };

    /// <summary>The adapter.</summary>
    [Value(0, MetaName = "DIR", Required = true, HelpText =
        "A bundle, or a LoRA directory written by Hugging Face PEFT.")]
    public string Directory { get; set; } = "";

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "Base model (default: the base the adapter names).")]
    public string? Base { get; set; }

    /// <summary>What to write.</summary>
    [Option("format", Default = ExportOptions.Peft, MetaValue = "F", HelpText =
        "peft (a mixture: one directory per expert) or merged (a full checkpoint).")]
    public string Format { get; set; } = ExportOptions.Peft;

    /// <summary>Where to write.</summary>
    [Option("output", Required = true, MetaValue = "DIR", HelpText = "Directory to write.")]
    public string OutputDir { get; set; } = "";

    /// <summary>One LoRA in place of a mixture.</summary>
    [Option("collapse", MetaValue = "HOW", HelpText =
        "Write a mixture with constant gates as one LoRA: cat (exact) or svd (of --rank).")]
    public string? Collapse { get; set; }

    /// <summary>Rank after svd.</summary>
    [Option("rank", MetaValue = "R", HelpText = "Rank of --collapse svd (default: the adapter's).")]
    public int? Rank { get; set; }

    /// <summary>Takes means for gates.</summary>
    [Option("approximate", HelpText =
        "Where gates depend on the input, use their means over a text, and report the error.")]
    public bool Approximate { get; set; }

    /// <summary>The text.</summary>
    [Option("text", MetaValue = "FILE", HelpText =
        "Text for the means and the verification (default: a built-in one).")]
    public string? TextFile { get; set; }

    /// <summary>Type of a merged checkpoint.</summary>
    [Option("dtype", Default = "auto", MetaValue = "T", HelpText =
        "Type of a merged checkpoint: auto (the base's), float32, bfloat16, float16 or float64.")]
    public string Dtype { get; set; } = "auto";

    /// <summary>Size of files.</summary>
    [Option("max-shard-size", MetaValue = "SIZE", HelpText =
        "Maximum size of one file of a merged checkpoint (default: 5GB).")]
    public string? MaxShardSize { get; set; }

    /// <summary>Replace.</summary>
    [Option("overwrite", HelpText = "Replace an adapter or model in the output directory.")]
    public bool Overwrite { get; set; }

    /// <summary>Output for programs.</summary>
    [Option("json", HelpText = "Print the verification as JSON on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        if (MaxShardSize is not null && Format != ExportOptions.Merged)
            throw UserException.At(
                "--max-shard-size", "given without --format merged, where it has no effect", null, "leave it out");
        var options = new ExportOptions
        {
            Adapter = Directory,
            Base = Base,
            Output = OutputDir,
            Format = Format,
            Collapse = Collapse,
            Rank = Rank,
            Approximate = Approximate,
            TextFile = TextFile,
            Dtype = Dtype,
            MaxShardSize = ByteSize("--max-shard-size", MaxShardSize ?? "5GB"),
            Overwrite = Overwrite,
        };
        using var interruption = new Interruption(output);
        var report = AdapterExport.Run(options, line => output.Error("note: " + line), interruption.Token);
        if (Json)
            output.Result(JsonSerializer.Serialize(report, JsonForm));
        else
            Show(report, output);
        return ExitCode.Done;
    }

    private static void Show(ExportReport report, Output output)
    {
        output.Result($"{report.Output}: {report.Kind}");
        foreach (var proof in report.Proofs)
        {
            var tensors = proof.Tensors > 0 ? $"{Words.Count(proof.Tensors, "tensor")} equal bit for bit, " : "";
            // One verdict: where gates or ranks were replaced, what counts is the distance from the routed mixture.
            var verdict = report.RoutedDifference is { } difference
                ? string.Create(
                    CultureInfo.InvariantCulture,
                    $"an approximation: logits differ from the routed mixture's by at most {difference:G3}")
                : Verified(proof);
            output.Result($"  {proof.What}: {tensors}{verdict}");
        }
        if (report.Losses.Count > 0)
            ShowLosses(report, output);
        foreach (var remark in report.Remarks)
            output.Say($"note: {remark}");
    }

    // What rounding every weight does is no fault of the export, and is told as what it is.
    private static string Verified(ExportProof proof) => proof.RoundedTo is { } type
        ? string.Create(
            CultureInfo.InvariantCulture,
            $"verified: rounding to {type} changes logits by at most {proof.LargestDifference:G2}, "
                + $"{proof.LargestDifference / proof.LargestLogit:P2} of the largest (refused above "
                + $"{proof.AllowedShare:P0})").Replace(" %", "%", StringComparison.Ordinal)
        : string.Create(
            CultureInfo.InvariantCulture,
            $"verified: logits differ by at most {proof.LargestDifference:G2} (refused above {proof.Allowed:G2})");

    private static void ShowLosses(ExportReport report, Output output)
    {
        var table = new TextTable("projection", "gate error", "rank error", "energy kept");
        var worst = report.Losses.OrderByDescending(loss => Math.Max(loss.GateError, loss.RankError));
        foreach (var loss in worst.Take(ModulesShown))
            table.Add(loss.Path, Percent(loss.GateError), Percent(loss.RankError), Percent(loss.Energy));
        if (report.Losses.Count > ModulesShown)
            table.Add($"({report.Losses.Count - ModulesShown} more with smaller errors)", "", "", "");
        table.Add(
            "mean", Percent(report.Losses.Average(l => l.GateError)), Percent(report.Losses.Average(l => l.RankError)),
            Percent(report.Losses.Average(l => l.Energy)));
        output.Result("");
        output.Result(table.ToString());
    }

    // Sizes as people write them: 5GB, 500MB, 2GiB, 1000.
    private static long ByteSize(string option, string text)
    {
        (string Unit, long Bytes)[] units =
        [
            ("KIB", 1L << 10), ("MIB", 1L << 20), ("GIB", 1L << 30),
            ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1), ("", 1),
        ];
        var unit = units.First(unit => text.EndsWith(unit.Unit, StringComparison.OrdinalIgnoreCase));
        var digits = text.AsSpan(0, text.Length - unit.Unit.Length).Trim();
        if (double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            && number * unit.Bytes is >= 1 and < long.MaxValue)
            return (long)(number * unit.Bytes);
        throw UserException.At(option, Quote.Of(text), "a size such as 5GB (B, KB, MB, GB, KiB, MiB or GiB)");
    }

    private static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{100 * share:F2}%");
}
