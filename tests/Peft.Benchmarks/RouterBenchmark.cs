using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

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
            var adapter = Adapter(entry);
            using var routed = new TrainingStep(options, options.Shape, adapter);
            using var alike = !entry.First.NeedsSquare ? null : new TrainingStep(
                options, options.Shape,
                TrainingStep.LoraOf(TrainingStep.Rank) with { TargetModules = adapter.TargetModules });
            var seconds = Rounds.Seconds(options.Rounds, (alike ?? lora).Run, routed.Run);
            yield return Measurement.Of(
                $"router {entry.Kind}", "x", seconds[1].Zip(seconds[0], (r, l) => r / l),
                (entry.HasOneAdapter ? "over plain LoRA of rank 8, forward and backward"
                    : $"over plain LoRA of rank 8; {TrainingStep.Experts} experts")
                + ByMultiplyAdds(options.Shape, adapter));
        }
    }

    /// <summary>Routers without a model: the seven of a block, their losses and all gradients.</summary>
    public static IEnumerable<Measurement> MeasureAlone(BenchmarkOptions options)
    {
        using var scope = torch.NewDisposeScope();
        foreach (var entry in RouterCatalog.Entries)
        {
            var adapter = Adapter(entry);
            var routers = Enumerable.Range(0, options.Shape.Linears.Count)
                .Select(i => NewRouter(adapter, options.Shape.Hidden, i)).ToArray();
            var seconds = Rounds.Seconds(options.Rounds, Block(options, adapter, routers));
            yield return Measurement.Of(
                $"router {entry.Kind} alone, {options.Dtype}", "ms",
                seconds[0].Select(s => 1e3 * s / routers.Length), "a module; forward, losses and backward");
            foreach (var router in routers)
                router.Dispose();
        }
    }

    private static string ByMultiplyAdds(ModelShape shape, AdapterOptions adapter) =>
        MultiplyAdds.OfStep(shape, TrainingStep.Rank, adapter.Experts.Count, adapter.Router!) is { } all
            ? FormattableString.Invariant(
                $"; {all / MultiplyAdds.OfStep(shape, TrainingStep.Rank):F2} by multiply-adds, all experts computed")
            : "";

    private static Action Block(BenchmarkOptions options, AdapterOptions adapter, Router[] routers)
    {
        var (B, T) = (options.Shape.Batch, options.Shape.Length);
        var x = FusedBenchmark.PassedOn(
            torch.randn(B, T, options.Shape.Hidden).to(options.Dtype).detach().requires_grad_());
        var slopes = torch.randn(
            B * T, adapter.Router!.Slices ?? (adapter.Experts.Count == 1 ? adapter.R : adapter.Experts.Count));
        var losses = AuxiliaryLoss.From(adapter.Router);
        return () =>
        {
            using var inner = torch.NewDisposeScope();
            using var random = Seeds.GeneratorFor(1, "routers", torch.CPU);
            var pass = ForwardPass.ForTraining(random, torch.zeros([B], ScalarType.Int64));
            foreach (var router in routers)
                pass.Emit(new RoutingRecord(router.Context.Path, router.Route(x, pass)));
            var records = pass.Records<RoutingRecord>();
            var learned = records.Select(record => record.Decision.Gates).Where(gates => gates.requires_grad).ToArray();
            if (learned.Length == 0)
                return;
            using var one = torch.ones([], ScalarType.Float32);
            Tensor[] ends = losses.Of(records, null, pass.TaskIds) is { } loss ? [.. learned, loss] : learned;
            Gradients.backward(
                ends, [.. learned.Select(_ => slopes), .. ends.Skip(learned.Length).Select(_ => one)],
                retain_graph: true);
            foreach (var parameter in routers.SelectMany(router => router.parameters()))
                parameter.grad = null;
        };
    }

    private static Router NewRouter(AdapterOptions adapter, long width, int i) => RouterCatalog.Create(
        adapter.Router!, new RouterContext(
            $"layers.0.{i}", width, adapter.Router!.Slices ?? adapter.Experts.Count, adapter.R, 1,
            torch.randn(adapter.Experts.Count * adapter.R, width).ToParameter(false)));

    private static AdapterOptions Adapter(RouterEntry entry)
    {
        var experts = entry.HasOneAdapter ? 1 : TrainingStep.Experts;
        var faults = new Faults();
        var section = new OptionReader(
            ConfigJson.Parse($$"""{"kind": "{{entry.Kind}}"}""", entry.Kind), "router", faults);
        var router = RouterCatalog.Read(section, new RouterSize(experts, TrainingStep.Rank));
        faults.ThrowIfAny(entry.Kind);
        var lora = TrainingStep.LoraOf(TrainingStep.Rank);
        return lora with
        {
            Method = AdapterOptions.Mixture,
            TargetModules = router is { NeedsSquare: true } ? ModuleNames.List(["q_proj", "o_proj"])
                : lora.TargetModules,
            Experts = new ExpertOptions { Count = experts },
            Router = router,
        };
    }
}
