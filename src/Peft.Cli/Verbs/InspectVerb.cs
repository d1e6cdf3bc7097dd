using CommandLine;
using Peft.Adapters.Bundles;
using Peft.Cli.Printing;
using Peft.Formats;

namespace Peft.Cli.Verbs;

/// <summary>What a bundle holds.</summary>
[Verb("adapter-inspect", HelpText = "What a bundle holds: method, experts, router, modules, base, provenance.")]
public sealed class InspectVerb : IVerb
{
    /// <summary>The bundle.</summary>
    [Value(0, MetaName = "DIR", Required = true, HelpText = "A bundle.")]
    public string Directory { get; set; } = "";

    /// <summary>Machine output.</summary>
    [Option("json", HelpText = "Print bundle.json's content on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var bundle = BundleReader.Load(Directory);
        var manifest = bundle.Manifest;
        if (Json)
        {
            output.Result(manifest.ToJson().TrimEnd());
            return ExitCode.Done;
        }
        var adapter = manifest.Adapter;
        output.Result($"method          {adapter.Method}");
        output.Result($"base            {Quote.Escaped(manifest.Base.Name)} ({Quote.Escaped(manifest.Base.Fingerprint[..Math.Min(12, manifest.Base.Fingerprint.Length)])})");
        output.Result($"rank, alpha     {adapter.R}, {adapter.LoraAlpha}");
        output.Result($"experts         {adapter.Experts.Count}{(adapter.Router is { } router ? $", router {router.Kind}" : "")}");
        output.Result($"trained values  {manifest.TrainableParameters:N0}");
        output.Result($"seed            {manifest.Seed}");
        foreach (var (name, version) in manifest.Versions)
            output.Result(Quote.Escaped($"{name,-16}{version}"));
        output.Result("");
        var table = new TextTable("tensor", "type", "shape");
        foreach (var entry in bundle.Weights.Entries.Values.OrderBy(e => e.Name, StringComparer.Ordinal))
            table.Add(entry.Name, entry.Dtype.ToString(), $"[{string.Join(", ", entry.Shape)}]");
        output.Result(table.ToString());
        return ExitCode.Done;
    }
}
