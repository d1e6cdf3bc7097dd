using System.Diagnostics;
using Peft.Recipes;
using Peft.Training;
using Peft.Training.Metrics;

namespace Peft.Soak;

/// <summary>Trains a recipe for a time and watches the memory: what a step leaves behind shows.</summary>
internal static class MemorySoak
{
    private const int Rows = 24;                // of the table
    private const double WarmUp = 0.25;         // of the time: compiled code, allocator pools and caches fill up
    private const double AllowedShare = 0.02;   // growth after it
    private const double AllowedMegabytes = 16; // or this much, whichever is more

    /// <summary>Prints a table of resident size and live tensors; 1 when either grew. The collector takes and returns
    /// tens of
    /// megabytes as it likes, so its share is judged apart from the rest, which is libtorch's and ours.</summary>
    public static int Run(double minutes, string recipeFile)
    {
        var folder = Directory.CreateTempSubdirectory("peft-soak-").FullName;
        try
        {
            // Checkpoints and evaluations belong to what is watched.
            var recipe = Recipe.Load(recipeFile,
                ["training.max_steps=1000000000", "training.lr_scheduler_type=constant",
                "training.save_steps=20", "training.eval_steps=40", "training.report_to=[tensorboard]",
                "training.load_best_model_at_end=false", "training.early_stopping_patience=0"]);
            var output = OutputDirectory.Decide(Path.Combine(folder, "out"), null, overwrite: false);
            var stop = new StopRequest();
            var watch = new Watch(TimeSpan.FromMinutes(minutes), stop);
            using var run = RunBuilder.Build(recipe, output, torch.CPU, watch);
            using var taken = output.Prepare();
            Console.WriteLine(
                $"{recipeFile} for {minutes} minutes, a checkpoint every 20 steps, an evaluation every 40");
            run.Train(stop);
            return watch.Judge();
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private sealed record Sample(TimeSpan At, int Step, double ResidentMegabytes, double ManagedMegabytes,
        long LiveTensors)
    {
        public double NativeMegabytes => ResidentMegabytes - ManagedMegabytes;
    }

    private sealed class Watch(TimeSpan duration, StopRequest stop) : IMetricSink
    {
        private readonly List<Sample> _samples = [];
        private readonly Stopwatch _clock = new();
        private int _printed;

        public void Start(int afterStep, int totalSteps)
        {
            _clock.Start();
            Console.WriteLine($"{"time",9} {"step",8} {"resident MB",12} {"collector MB",13} {"live tensors",13}");
        }

        public void Write(StepReport report)
        {
            var sample = new Sample(_clock.Elapsed, report.Step, Environment.WorkingSet / 1e6,
                GC.GetGCMemoryInfo().TotalCommittedBytes / 1e6, TorchRuntime.LiveTensorCount);
            _samples.Add(sample);
            if (sample.At >= duration * _printed / Rows)
            {
                Console.WriteLine(
                    $"{sample.At,9:h\\:mm\\:ss} {sample.Step,8} {sample.ResidentMegabytes,12:F1} "
                    + $"{sample.ManagedMegabytes,13:F1} {sample.LiveTensors,13}");
                _printed = (int)(sample.At / duration * Rows) + 1;
            }
            if (sample.At >= duration)
                stop.Request();
        }

        public void Write(EvaluationReport report)
        {
        }

        public void Flush()
        {
        }

        public void Dispose()
        {
        }

        /// <summary>Compares the first half of what follows the warm-up with the second half: medians of the resident
        /// size, and
        /// the most live tensors.</summary>
        public int Judge()
        {
            var warm = _samples.Where(sample => sample.At >= duration * WarmUp).ToList();
            if (warm.Count < 8)
            {
                Console.WriteLine($"FAILED: {_samples.Count} steps are too few to judge by; give it more minutes");
                return 1;
            }
            var (first, second) = (warm[..(warm.Count / 2)], warm[(warm.Count / 2)..]);
            var (tensorsBefore, tensorsAfter) = (first.Max(s => s.LiveTensors), second.Max(s => s.LiveTensors));
            Console.WriteLine("median of each half after the warm-up: "
                + $"resident {Median(first, s => s.ResidentMegabytes):F1} -> "
                + $"{Median(second, s => s.ResidentMegabytes):F1} MB, "
                + $"of which the collector's {Median(first, s => s.ManagedMegabytes):F1} -> "
                + $"{Median(second, s => s.ManagedMegabytes):F1} MB; "
                + $"most live tensors {tensorsBefore} -> {tensorsAfter}");
            if (Flat(first, second, s => s.NativeMegabytes) && Flat(first, second, s => s.ManagedMegabytes)
                && tensorsAfter <= tensorsBefore)
            {
                Console.WriteLine("memory is flat");
                return 0;
            }
            Console.WriteLine("FAILED: memory grows");
            return 1;
        }

        private static bool Flat(List<Sample> first, List<Sample> second, Func<Sample, double> size) =>
            Median(second, size) <= Median(first, size)
                + Math.Max(AllowedMegabytes, Median(first, size) * AllowedShare);

        private static double Median(List<Sample> samples, Func<Sample, double> size) =>
            samples.Select(size).Order().ElementAt(samples.Count / 2);
    }
}
