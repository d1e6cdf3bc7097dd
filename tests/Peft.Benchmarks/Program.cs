using Peft.Formats;

namespace Peft.Benchmarks;

/// <summary>
/// Measures speed and memory and prints them beside their limits. Everything that is compared is measured in one run,
/// in turns, so that the machine's other work and its clock fall on all alike; numbers of two runs are not to be
/// compared.
/// </summary>
public static class Program
{
    /// <summary>The program.</summary>
    public static int Main(string[] args)
    {
        try
        {
            if (args is [DataBenchmark.Once, var file, var way])
                return DataBenchmark.RunOnce(file, way);
            if (args is [MemoryBenchmark.Once, .. var words])
                return MemoryBenchmark.RunOnce(words);
            if (args is [RanksBenchmark.Once, .. var rankWords])
                return RanksBenchmark.RunOnce(rankWords);
            var options = BenchmarkOptions.Parse(args);
            if (options is null)
            {
                Console.WriteLine(BenchmarkOptions.Help);
                return 0;
            }
            TorchRuntime.Start(options.Threads);
            var report = new Report(Machine.Describe(), options);
            Console.WriteLine($"machine  {report.Machine}");
            Console.WriteLine(
                $"shape    {options.Shape}, {options.Dtype}, {options.Rounds} rounds: median (lowest - highest)\n");
            // Memory first: later measurements leave freed memory in the process.
            foreach (var (name, measure) in Measurements)
            {
                if (!options.Wants(name))
                    continue;
                foreach (var measurement in measure(options))
                    report.Add(measurement);
            }
            if (options.JsonFile is { } json)
                report.Save(json);
            return 0;
        }
        catch (Exception e) when (e is UserException or NativeLibraryException)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }
    }

    /// <summary>Every measurement, in the order in which they run.</summary>
    internal static IReadOnlyList<(string Name,
        Func<BenchmarkOptions, IEnumerable<Measurement>> Measure)> Measurements
    { get; } =
    [
        ("memory", MemoryBenchmark.Measure),
        ("training", TrainingBenchmark.Measure),
        ("step", StepBenchmark.Measure),
        ("cores", CoresBenchmark.Measure),
        ("ranks", RanksBenchmark.Measure),
        ("fused", FusedBenchmark.Measure),
        ("kernels", KernelBenchmark.Measure),
        ("mixture", MixtureBenchmark.Measure),
        ("experts", ExpertsBenchmark.Measure),
        ("routers", RouterBenchmark.Measure),
        ("routers-alone", RouterBenchmark.MeasureAlone),
        ("packing", PackingBenchmark.Measure),
        ("generation", GenerationBenchmark.Measure),
        ("batched-decoding", BatchedDecodingBenchmark.Measure),
        ("scoring", ScoringBenchmark.Measure),
        ("tokenizer", TokenizerBenchmark.Measure),
        ("load", LoadBenchmark.Measure),
        ("merge", MergeBenchmark.Measure),
        ("scale", ScaleBenchmark.Measure),
        ("sizes", SizesBenchmark.Measure),
        ("neighbour", NeighbourBenchmark.Measure),
        ("start", StartBenchmark.Measure),
        ("resident", ResidentBenchmark.Measure),
        ("data", DataBenchmark.Measure),
    ];
}
