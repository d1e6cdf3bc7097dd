using System.Diagnostics;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Formats.Safetensors;

namespace Peft.Benchmarks;

/// <summary>Merging 64 adapters of rank 16: time, and the private memory it takes at most, beside the size of the
/// result.</summary>
internal static class MergeBenchmark
{
    private const int Adapters = 64;
    private const int Rank = 16;
    private static readonly string[] Methods = ["phatgoose", "arrow", "average", "cat", "svd", "ties", "dare-ties"];

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var folder = Directory.CreateTempSubdirectory("peft-bench-").FullName;
        try
        {
            List<string> directories = [
                .. Enumerable.Range(0, Adapters).Select(i => Write(Path.Combine(folder, $"a{i}"), options.Shape, i))];
            var one = new FileInfo(Path.Combine(directories[0], BundleFiles.Weights)).Length / 1048576.0;
            foreach (var method in Methods)
            {
                TorchRuntime.TrimMemory();
                using var memory = new PeakMemory();
                var clock = Stopwatch.StartNew();
                var output = Path.Combine(folder, "out");
                AdapterMerge.Run(
                    [.. directories.SelectMany(MergeSource.Open)], MergeCatalog.Find(method)!, new MergeOptions(), null,
                    output);
                var (seconds, growth) = (clock.Elapsed.TotalSeconds, memory.Growth / 1048576.0);
                var written = new FileInfo(Path.Combine(output, BundleFiles.Weights)).Length / 1048576.0;
                Directory.Delete(output, recursive: true);
                yield return new(
                    $"merge by {method}: {Adapters} adapters of rank {Rank}", seconds, "s", seconds, seconds,
                    FormattableString.Invariant(
                        $"private memory at most +{growth:F0} MB; result {written:F0} MB, one adapter {one:F1} MB"));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Write(string directory, ModelShape shape, int adapter)
    {
        string[] names = [
            "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
            "mlp.up_proj", "mlp.down_proj"];
        var modules = Enumerable.Range(0, shape.Layers)
            .SelectMany(
                layer => names.Zip(
                    shape.Linears, (name, sizes) => (Path: $"model.layers.{layer}.{name}", sizes.In, sizes.Out)))
                    .ToList();
        SafetensorsWrite Random(string name, params long[] sizes) =>
            new($"base_model.model.{name}", SafetensorsDtype.F32, sizes, stream =>
        {
            using var random = Seeds.GeneratorFor(adapter, name);
            using var values = torch.randn(sizes, generator: random);
            values.WriteBytes(stream);
        });
        var manifest = new BundleManifest
        {
            Adapter = new AdapterOptions { R = Rank, LoraAlpha = Rank },
            Base = new BaseIdentity("bench", "0123456789abcdef"),
        };
        BundleWriter.Write(
            directory, manifest,
            PeftConfig.ToJson(manifest.Adapter, modules.Select(module => module.Path), null, "bench"),
            [.. modules.SelectMany(module => new[]
            {
                Random(module.Path + ".lora_A.weight", Rank, module.In),
                    Random(module.Path + ".lora_B.weight", module.Out, Rank),
            })]);
        GateFile.Write(
            directory, [
                .. modules.Select(module => (module.Path, GateVectors.Gate, torch.ones([module.In]) * adapter))]);
        return directory;
    }

    // Samples the private memory of the process while something runs.
    private sealed class PeakMemory : IDisposable
    {
        private readonly double _before = MemoryBenchmark.StatusBytes("RssAnon:");
        private readonly Timer _timer;
        private double _peak;

        public PeakMemory() =>
            _timer = new Timer(_ => _peak = Math.Max(_peak, MemoryBenchmark.StatusBytes("RssAnon:")), null, 0, 20);

        public double Growth => Math.Max(0, Math.Max(_peak, MemoryBenchmark.StatusBytes("RssAnon:")) - _before);

        public void Dispose() => _timer.Dispose();
    }
}
