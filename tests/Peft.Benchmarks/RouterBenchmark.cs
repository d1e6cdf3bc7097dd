using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Benchmarks;

/// <summary>A training step with each router of the catalog, over plain LoRA of the same rank; a pass, where a method
/// takes several.</summary>
internal static class RouterBenchmark
{
    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        using var lora = TrainingStep.Lora(options);
        foreach (var entry in RouterCatalog.Entries)
        {
            using var routed = new TrainingStep(options, options.Shape, Adapter(entry));
            var seconds = Rounds.Seconds(options.Rounds, lora.Run, routed.Run);
            yield return Measurement.Of(
                $"router {entry.Kind}", "x", seconds[1].Zip(seconds[0], (r, l) => r / l),
                entry.RoutesRanks ? "over plain LoRA of rank 8, forward and backward"
                : $"over plain LoRA of rank 8; {TrainingStep.Experts} experts");
        }
    }

    private static AdapterOptions Adapter(RouterEntry entry)
    {
        var experts = entry.RoutesRanks ? 1 : TrainingStep.Experts;
        var faults = new Faults();
        var section = new OptionReader(
            ConfigJson.Parse($$"""{"kind": "{{entry.Kind}}"}""", entry.Kind), "router", faults);
        var router = RouterCatalog.Read(section, new RouterSize(experts, TrainingStep.Rank));
        faults.ThrowIfAny(entry.Kind);
        return TrainingStep.LoraOf(TrainingStep.Rank) with
        {
            Method = AdapterOptions.Mixture,
            Experts = new ExpertOptions { Count = experts },
            Router = router,
        };
    }
}
