using CommandLine;
using Peft.Cli.Printing;
using Peft.Evaluation;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Recipes;
using Peft.Training;

namespace Peft.Cli.Verbs;

/// <summary>Measures adapters and their base on tasks.</summary>
[Verb("eval", HelpText = "Measures one or several adapters, and the bare base, on tasks.")]
public sealed class EvalVerb : IVerb
{
    /// <summary>The adapters.</summary>
    [Option("adapter", MetaValue = "DIR", HelpText = "A bundle, or a LoRA directory of Hugging Face PEFT; may be given several times.")]
    public IEnumerable<string> Adapters { get; set; } = [];

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "Base model in Hugging Face layout (default: the one that the first adapter names).")]
    public string? Base { get; set; }

    /// <summary>Leaves the bare base out.</summary>
    [Option("no-base", HelpText = "Do not measure the bare base.")]
    public bool NoBase { get; set; }

    /// <summary>Where tasks come from.</summary>
    [Option("recipe", MetaValue = "FILE", HelpText = "Recipe whose tasks are measured (default: the adapters' own).")]
    public string? Recipe { get; set; }

    /// <summary>The tasks.</summary>
    [Option("tasks", MetaValue = "a,b|FILE.yaml", HelpText = "Tasks by name (the recipe's, or recipes/tasks/NAME.yaml) or as files, separated by commas.")]
    public IEnumerable<string> Tasks { get; set; } = [];

    /// <summary>Rows a task.</summary>
    [Option("rows", MetaValue = "N", HelpText = "Most rows of each task, from the start (default: what the task says).")]
    public int? Rows { get; set; }

    /// <summary>Rows at once.</summary>
    [Option("batch-size", Default = 16, MetaValue = "N", HelpText = "Rows answered together; the numbers do not depend on it but for rounding.")]
    public int BatchSize { get; set; }

    /// <summary>Seed.</summary>
    [Option("seed", Default = 0, MetaValue = "S", HelpText = "Seed of few-shot examples and of resampling.")]
    public int Seed { get; set; }

    /// <summary>Data of the tasks.</summary>
    [Option("data", MetaValue = "DIR", HelpText = "Folder of the tasks' data files (default: PEFT_DATA, then the working directory).")]
    public string? Data { get; set; }

    /// <summary>Where the results go.</summary>
    [Option("output", Required = true, MetaValue = "DIR", HelpText = "Directory of results.json and examples.parquet.")]
    public string OutputDir { get; set; } = "";

    /// <summary>Replace.</summary>
    [Option("overwrite", HelpText = "Replace the results, finished or not, that are in the output directory.")]
    public bool Overwrite { get; set; }

    /// <summary>Gates.</summary>
    [Option("fail-under", MetaValue = "TASK.METRIC=X", HelpText = "Exit with 3 when an adapter is worse than that; may be given several times.")]
    public IEnumerable<string> FailUnder { get; set; } = [];

    /// <summary>Type of the base weights.</summary>
    [Option("dtype", Default = "auto", HelpText = "auto, float32, bfloat16, float16 or float64.")]
    public string Dtype { get; set; } = "auto";

    /// <summary>Where to compute.</summary>
    [Option("device", Default = "auto", HelpText = "auto, cpu or cuda:N.")]
    public string Device { get; set; } = "auto";

    /// <summary>Machine output.</summary>
    [Option("json", HelpText = "Print the results as JSON on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        Check();
        var gates = FailUnder.Select(QualityGate.Parse).ToList();
        var directory = new EvaluationDirectory(OutputDir, Overwrite);
        directory.Check();
        var stop = new StopRequest();
        using var progress = new EvaluationProgressBar(output);
        var run = EvaluationBuilder.Build(
            new EvaluationRequest
            {
                Adapters = [.. Adapters],
                Base = Base,
                MeasuresBase = !NoBase,
                Recipe = Recipe,
                Tasks = [.. Tasks.SelectMany(word => word.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))],
                Rows = Rows,
                BatchSize = BatchSize,
                Seed = Seed,
                Data = Data ?? (Environment.GetEnvironmentVariable("PEFT_DATA") is { Length: > 0 } named ? named : null),
                Dtype = Dtype,
                Device = Devices.Choose(Device),
            },
            progress.Show, () => stop.IsRequested);
        foreach (var gate in gates)
            gate.Check(run.Metrics);
        using var taken = directory.Prepare();
        using var signals = new Signals(stop, output, "stopping: this batch is finished and kept first (once more: stop without it)");
        var results = run.Run(OutputDir, Program.Version, DateTimeOffset.UtcNow);
        progress.Clear();
        if (results is null)
        {
            output.Say($"interrupted; {Path.Combine(OutputDir, EvaluationJournal.Name)} holds what is answered: the same command (without --overwrite) goes on with it");
            return ExitCode.Interrupted;
        }
        output.Say($"{Path.Combine(OutputDir, ResultsFile.Name)}, {ExamplesFile.Name}");
        output.Result(Json ? ResultsFile.ToJson(results).TrimEnd() : ScoresTable.Of(results));
        var failed = gates.SelectMany(gate => gate.Failures(results)).ToList();
        foreach (var failure in failed)
            output.Say(failure);
        return failed.Count > 0 ? ExitCode.GateFailed : ExitCode.Done;
    }

    private void Check()
    {
        if (Rows is < 1)
            throw new UserException($"--rows {Rows}: must be at least 1");
        if (BatchSize < 1)
            throw new UserException($"--batch-size {BatchSize}: must be at least 1");
        if (!ModelOptions.Dtypes.Contains(Dtype))
            throw new UserException($"--dtype {Dtype}: must be one of {string.Join(", ", ModelOptions.Dtypes)}");
        if (NoBase && !Adapters.Any())
            throw new UserException("--no-base: nothing is left to measure without --adapter - name an adapter, or leave --no-base out");
    }
}
