using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using CommandLine;
using Peft.Adapters.Bundles;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Models.Loading;

namespace Peft.Cli.Verbs;

/// <summary>What an adapter holds.</summary>
[Verb("adapter-inspect", HelpText = "Show what an adapter contains.")]
public sealed class InspectVerb : IVerb
{
    private static readonly JsonSerializerOptions JsonForm = new()
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>The adapter.</summary>
    [Value(0, MetaName = "DIR", Required = true, HelpText =
        "A bundle, an exported mixture, or a LoRA directory written by Hugging Face PEFT.")]
    public string Directory { get; set; } = "";

    /// <summary>Output for programs.</summary>
    [Option("json", HelpText = "Print settings, provenance and modules as JSON on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var summary = AdapterSummary.Read(Directory, line => output.Error("warning: " + line));
        if (Json)
        {
            output.Result(summary.ToJson().ToJsonString(JsonForm));
            return ExitCode.Done;
        }
        ShowSettings(summary, output);
        output.Result("");
        output.Result(Table(summary).ToString());
        output.Result("");
        output.Result(summary.Options.IsPlainLora
            ? "|x|: Frobenius norm; scale B A: what the adapter adds to a weight"
            : "|x|: Frobenius norm; A and B: of all experts together; scale B A: what one expert adds to a\n"
                + "weight, from the smallest to the largest");
        return ExitCode.Done;
    }

    private static void ShowSettings(AdapterSummary summary, Output output)
    {
        var adapter = summary.Options;
        Line("kind", summary.Kind);
        Line("method", adapter.Method);
        if (summary.Manifest is { } manifest)
            Line("base", $"{manifest.Base.Name} ({CheckpointFingerprint.Short(manifest.Base.Fingerprint)})");
        else
            Line("base", summary.Config?.BaseModelNameOrPath is { Length: > 0 } named ? named : "(not named)");
        Line("rank, alpha", $"{adapter.R}, {adapter.LoraAlpha}{(adapter.UseRslora ? " (rsLoRA)" : "")}");
        if (!adapter.IsPlainLora)
            Line(
                "experts",
                $"{adapter.Experts.Count}{Shared(adapter.Experts.Shared)}"
                    + (adapter.Router is { } router ? $", router {router.Kind}" : ""));
        if (adapter.Experts.Names.Count > 0)
            Line("names", string.Join(", ", adapter.Experts.Names));
        if (summary.RouterTensors.Count > 0)
        {
            var values = summary.RouterTensors.Sum(entry => entry.Shape.Aggregate(1L, (size, length) => size * length));
            Line("router", $"{Words.Count(values, "value")} in {Words.Count(summary.RouterTensors.Count, "tensor")}");
        }
        foreach (var other in summary.OtherTensors)
            Line("trained beside them", $"{other.Name} [{string.Join(", ", other.Shape)}]");
        if (summary.Manifest is not { } known)
            return;
        Line("trainable parameters", $"{known.TrainableParameters:N0}");
        Line("seed", $"{known.Seed}");
        foreach (var data in known.Data)
            Line("data", $"{data.Name} ({CheckpointFingerprint.Short(data.Sha256)})");
        foreach (var (name, version) in known.Versions)
            Line(name, version);

        static string Shared(int experts) => experts > 0 ? $" and {experts} shared" : "";

        void Line(string name, string value) =>
            output.Result(Quote.Escaped(string.Create(CultureInfo.InvariantCulture, $"{name,-22}{value}")));
    }

    // Of all projections together: the norm of everything side by side, or the range over all experts.
    private static TextTable Table(AdapterSummary summary)
    {
        var isPlain = summary.Options.IsPlainLora;
        string[] experts = isPlain ? [] : ["experts"];
        var isShared = summary.Modules.Any(module => module.DownOwner is not null || module.UpOwner is not null);
        string[] owners = isShared ? ["shares"] : [];
        var table = new TextTable(["projection", .. experts, "r", "scale", "|A|", "|B|", "|scale B A|", .. owners]);
        foreach (var module in summary.Modules)
        {
            string[] count = isPlain ? [] : [$"{module.Experts}"];
            table.Add([module.Path, .. count, $"{module.Rank}", Number(module.Scale), Number(module.DownNorm),
                Number(module.UpNorm), isPlain ? Number(module.AddedNorms[0]) : Range(module.AddedNorms),
                .. isShared ? [Owners(module)] : owners]);
        }
        string[] all = isPlain ? [] : [$"{summary.Modules.Sum(module => module.Experts)}"];
        var added = summary.Modules.SelectMany(module => module.AddedNorms).ToList();
        table.Add([$"all {summary.Modules.Count}", .. all, "", "",
            Number(Together(summary.Modules.Where(module => module.DownOwner is null).Select(
                module => module.DownNorm))),
            Number(Together(summary.Modules.Where(module => module.UpOwner is null).Select(module => module.UpNorm))),
            isPlain ? Number(Together(added)) : Range(added), .. isShared ? [""] : owners]);
        return table;
    }

    private static string Owners(ModuleSummary module) => module switch
    {
        { DownOwner: null, UpOwner: null } => "",
        { DownOwner: var down, UpOwner: null } => $"A of {down}",
        { DownOwner: null, UpOwner: var up } => $"B of {up}",
        { DownOwner: var down, UpOwner: var up } => down == up ? $"A and B of {down}" : $"A of {down}, B of {up}",
    };

    private static double Together(IEnumerable<double> norms) => Math.Sqrt(norms.Sum(norm => norm * norm));

    private static string Range(IReadOnlyList<double> norms) => $"{Number(norms.Min())} to {Number(norms.Max())}";

    private static string Number(double value) => value.ToString("F4", CultureInfo.InvariantCulture);
}
