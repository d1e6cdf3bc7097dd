using System.Globalization;
using System.Text.Json;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Recipes.Transfer;

namespace Peft.Cli.Verbs;

/// <summary>An adapter goes to the Hugging Face world.</summary>
[Verb("adapter-export", HelpText = "Writes an adapter as Hugging Face PEFT reads it, or merged into a full checkpoint; reads it again and proves it.")]
public sealed class ExportVerb : IVerb
{
    private const int ModulesShown = 10;

    private static readonly JsonSerializerOptions JsonForm = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>The adapter.</summary>
    [Value(0, MetaName = "DIR", Required = true, HelpText = "A bundle, or a LoRA directory written by Hugging Face PEFT.")]
    public string Directory { get; set; } = "";

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "Base model (default: the one the adapter names).")]
    public string? Base { get; set; }

    /// <summary>What to write.</summary>
    [Option("format", Default = ExportOptions.Peft, MetaValue = "F", HelpText = "peft (a mixture: one directory an expert) or merged (a full checkpoint).")]
    public string Format { get; set; } = ExportOptions.Peft;

    /// <summary>Where to write.</summary>
    [Option("output", Required = true, MetaValue = "DIR", HelpText = "The directory to write.")]
    public string OutputDir { get; set; } = "";

    /// <summary>One LoRA in place of a mixture.</summary>
    [Option("collapse", MetaValue = "HOW", HelpText = "A mixture of constant gates as one LoRA: cat (exact) or svd (of --rank).")]
    public string? Collapse { get; set; }

    /// <summary>Rank after svd.</summary>
    [Option("rank", MetaValue = "R", HelpText = "Rank of --collapse svd (default: the adapter's).")]
    public int? Rank { get; set; }

    /// <summary>Takes means for gates.</summary>
    [Option("approximate", HelpText = "Where gates follow the input, take their means over a text, and tell the error.")]
    public bool Approximate { get; set; }

    /// <summary>The text.</summary>
    [Option("text", MetaValue = "FILE", HelpText = "Text for the means and the proof (default: a built-in one).")]
    public string? TextFile { get; set; }

    /// <summary>Type of a merged checkpoint.</summary>
    [Option("dtype", Default = "auto", HelpText = "Type of a merged checkpoint: auto (the base's), float32, bfloat16, float16 or float64.")]
    public string Dtype { get; set; } = "auto";

    /// <summary>Size of files.</summary>
    [Option("max-shard-size", Default = "5GB", MetaValue = "SIZE", HelpText = "Most bytes in one file of a merged checkpoint.")]
    public string MaxShardSize { get; set; } = "5GB";

    /// <summary>Whether an earlier result goes.</summary>
    [Option("overwrite", HelpText = "Replace an adapter or model that stands there.")]
    public bool Overwrite { get; set; }

    /// <summary>Machine output.</summary>
    [Option("json", HelpText = "Print the proofs as JSON on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
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
            MaxShardSize = ByteSize.Parse("--max-shard-size", MaxShardSize),
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
            output.Result(string.Create(
                CultureInfo.InvariantCulture,
                $"  {proof.What}: read again - {(proof.Tensors > 0 ? $"{proof.Tensors} tensors bit for bit, " : "")}logits differ by {proof.LargestDifference:G2} at most (allowed {proof.Allowed:G2})"));
        if (report.Losses.Count > 0)
            ShowLosses(report, output);
        if (report.RoutedDifference is { } difference)
            output.Result(string.Create(CultureInfo.InvariantCulture, $"approximation: logits differ from the routed mixture's by {difference:G3} at most"));
        foreach (var remark in report.Remarks)
            output.Say($"note: {remark}");
    }

    private static void ShowLosses(ExportReport report, Output output)
    {
        var table = new TextTable("projection", "gate error", "rank error", "energy kept");
        foreach (var loss in report.Losses.OrderByDescending(loss => Math.Max(loss.GateError, loss.RankError)).Take(ModulesShown))
            table.Add(loss.Path, Percent(loss.GateError), Percent(loss.RankError), Percent(loss.Energy));
        if (report.Losses.Count > ModulesShown)
            table.Add($"({report.Losses.Count - ModulesShown} more, smaller)", "", "", "");
        table.Add("mean", Percent(report.Losses.Average(l => l.GateError)), Percent(report.Losses.Average(l => l.RankError)), Percent(report.Losses.Average(l => l.Energy)));
        output.Result("");
        output.Result(table.ToString());
    }

    private static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{share:P2}");
}
