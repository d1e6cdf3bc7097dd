using Peft.Models;

namespace Peft.Benchmarks;

/// <summary>Loading a safetensors checkpoint beside reading its file; both from the page cache.</summary>
internal static class LoadBenchmark
{
    private const int BufferBytes = 1 << 20;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var folder = Directory.CreateTempSubdirectory("peft-bench-").FullName;
        try
        {
            using (var model = options.Shape.Create(ScalarType.Float32))
                ModelSaver.Save(folder, model, options.Shape.Config().Map, ScalarType.Float32);
            var file = Path.Combine(folder, "model.safetensors");
            var buffer = new byte[BufferBytes];
            var seconds = Rounds.Seconds(
                options.Rounds, () => Load(folder, ScalarType.Float32, touch: false), () =>
                    Load(folder, ScalarType.Float32, touch: true),
                () => Load(folder, ScalarType.BFloat16, touch: false), () => Read(file, buffer));
            var size = FormattableString.Invariant($"{new FileInfo(file).Length / 1048576.0:F1} MB");
            var reading = FormattableString.Invariant(
                $"{1e3 * Measurement.Of("", "", seconds[3], "").Value:F2} ms to read the file");
            yield return Measurement.Of(
                $"safetensors, {size}: model loaded (mapped)", "ms", seconds[0].Select(s => 1e3 * s), reading);
            yield return Measurement.Of(
                "  loaded, every weight read once", "ms", seconds[1].Select(s => 1e3 * s), reading);
            var growth = AnonymousGrowth(folder) / 1048576.0;
            yield return new(
                "  private memory of the loaded model, every weight read", growth, "MB", growth, growth,
                "a second copy would take " + size);
            yield return Measurement.Of(
                "  loaded as bfloat16 (converted)", "ms", seconds[2].Select(s => 1e3 * s), reading);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // Pages of a mapped file belong to the file; a copy of the weights would be private memory.
    private static double AnonymousGrowth(string folder)
    {
        TorchRuntime.TrimMemory();
        var before = MemoryBenchmark.StatusBytes("RssAnon:");
        using var model = ModelLoader.Load(folder, ScalarType.Float32);
        foreach (var (_, tensor) in model.StateDict())
        {
            using var largest = tensor.amax([.. Enumerable.Range(0, (int)tensor.ndim).Select(d => (long)d)]);
        }
        return MemoryBenchmark.StatusBytes("RssAnon:") - before;
    }

    private static void Load(string folder, ScalarType dtype, bool touch)
    {
        using var model = ModelLoader.Load(folder, dtype);
        if (!touch)
            return;
        foreach (var (_, tensor) in model.StateDict())
        {
            using var largest = tensor.amax([.. Enumerable.Range(0, (int)tensor.ndim).Select(d => (long)d)]);
        }
    }

    private static void Read(string file, byte[] buffer)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        while (stream.Read(buffer) > 0)
        {
        }
    }
}
