using System.Globalization;
using System.Text.RegularExpressions;
using Peft.Formats;
using Peft.Models;

namespace Peft.Benchmarks;

/// <summary>The peak that <c>train --dry-run</c> estimates beside the one that the same training has, both of bin/peft
/// as a process: plain LoRA and a mixture on a base of the shape, with and without gradient checkpointing.</summary>
internal static partial class ResidentBenchmark
{
    private const double Mega = 1048576;
    private const int Steps = 4;
    private const int DataRows = 20_000;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        if (BuiltProgram.Find("resident") is not { } program)
            yield break;
        var folder = Directory.CreateTempSubdirectory("peft-bench-").FullName;
        try
        {
            Prepare(folder, options, Path.Combine(program.Repository, "data", "base"));
            foreach (var (experts, again) in from experts in new[] { 1, TrainingStep.Experts }
                                             from again in new[] { false, true }
                                             select (experts, again))
            {
                var recipe = Path.Combine(folder, "recipe.yaml");
                File.WriteAllText(recipe, Recipe(folder, options.Shape, experts, again));
                var told = Told().Match(program.Run("train", recipe, "--dry-run").Output);
                if (!told.Success)
                    throw new UserException("resident: `peft train --dry-run` told no memory");
                var estimate = double.Parse(
                    told.Groups[1].Value, NumberStyles.AllowThousands, CultureInfo.InvariantCulture);
                var peak = program.Run(
                    "train", recipe, "--output", Path.Combine(folder, $"out-{experts}-{again}")).Bytes / Mega;
                var what = experts == 1 ? "LoRA" : $"{experts} experts";
                yield return new(
                    $"bin/peft train, {what}, {options.Dtype}{(again ? ", checkpointing" : "")}: peak resident",
                    peak, "MB", peak, peak, FormattableString.Invariant($"{estimate:F0} MB estimated"));
                yield return new(
                    "  estimated over measured", estimate / peak, "x", estimate / peak, estimate / peak,
                    "0.85 to 1.15");
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Prepare(string folder, BenchmarkOptions options, string tokenizer)
    {
        using (var model = options.Shape.Create(options.Dtype))
            ModelSaver.Save(Path.Combine(folder, "base"), model, options.Shape.Config().Map, options.Dtype);
        foreach (var file in Directory.EnumerateFiles(tokenizer, "tokenizer*.json"))
            File.Copy(file, Path.Combine(folder, "base", Path.GetFileName(file)));
        DataBenchmark.Write(Path.Combine(folder, "rows.parquet"), DataRows);
        TorchRuntime.TrimMemory();
    }

    private static string Recipe(string folder, ModelShape shape, int experts, bool again) => string.Create(
        CultureInfo.InvariantCulture, $$"""
        model: {model_name_or_path: {{folder}}/base}
        data:
          max_length: {{shape.Length}}
          packing: true
          train:
            - name: rows
              files: {{folder}}/rows.parquet
              template: {prompt: "meaning: {definition} =", answer: " {pos}"}
        adapter:
          method: {{(experts == 1 ? "lora" : "mixture")}}
          r: {{TrainingStep.Rank}}
          lora_alpha: 16
          target_modules: all-linear
          {{(experts == 1 ? "" : $"experts: {{count: {experts}}}")}}
        training:
          per_device_train_batch_size: {{shape.Batch}}
          max_steps: {{Steps}}
          save_steps: 0
          gradient_checkpointing: {{(again ? "true" : "false")}}
        """);

    [GeneratedRegex("about ([0-9,]+) MB at the peak")]
    private static partial Regex Told();
}
