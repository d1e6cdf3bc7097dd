using CommandLine;
using Peft.Adapters.Lora;
using Peft.Cli.Printing;
using Peft.Distributed;
using Peft.Evaluation;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Recipes;
using Peft.Training;
using Peft.Training.Ranks;

namespace Peft.Cli.Verbs;

/// <summary>Measures adapters and their base on tasks.</summary>
[Verb("eval", HelpText = "Measure adapters and their base model on tasks.")]
public sealed class EvalVerb : IRankedVerb
{
    /// <summary>The adapters.</summary>
    [Option("adapter", MetaValue = "DIR", HelpText =
        "A bundle, or a LoRA directory written by Hugging Face PEFT; may be repeated.")]
    public IEnumerable<string> Adapters { get; set; } = [];

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText =
        "Base model in Hugging Face layout (default: the base of the first adapter).")]
    public string? Base { get; set; }

    /// <summary>Leaves the base out.</summary>
    [Option("no-base", HelpText = "Do not measure the base model.")]
    public bool NoBase { get; set; }

    /// <summary>Where tasks come from.</summary>
    [Option("recipe", MetaValue = "FILE", HelpText = "Recipe that lists the tasks (default: the adapters' own).")]
    public string? Recipe { get; set; }

    /// <summary>The tasks.</summary>
    [Option("tasks", MetaValue = "A,B|FILE", HelpText =
        "Tasks, separated by commas: names (the recipe's, or recipes/tasks/NAME.yaml) or task files.")]
    public IEnumerable<string> Tasks { get; set; } = [];

    /// <summary>Rows a task.</summary>
    [Option("rows", MetaValue = "N", HelpText =
        "Maximum number of rows per task, from the start, in place of what the task says.")]
    public int? Rows { get; set; }

    /// <summary>Rows at once.</summary>
    [Option("batch-size", Default = 16, MetaValue = "N", HelpText =
        "Rows answered together; changes the numbers by rounding at most, except with routers that go by all tokens of "
        + "a batch: expert-choice, union-of-experts, and lily with average: batch.")]
    public int BatchSize { get; set; }

    /// <summary>Seed.</summary>
    [Option("seed", Default = 0, MetaValue = "S", HelpText = "Seed of the few-shot examples and of resampling.")]
    public int Seed { get; set; }

    /// <summary>Prompts as messages.</summary>
    [Option("apply-chat-template", HelpText =
        "Put every prompt as a user's message, through the chat template (tasks of conversations always are).")]
    public bool ApplyChatTemplate { get; set; }

    /// <summary>The chat template.</summary>
    [Option("chat-template", MetaValue = "NAME|FILE", HelpText =
        "Chat template: a common one by name (chatml, llama3, ...), a file, or its text (default: the adapters', then "
        + "the base's).")]
    public string? ChatTemplate { get; set; }

    /// <summary>Fits routers to each prompt.</summary>
    [Option("rewire", MetaValue = "default|K=V,...", HelpText =
        "Measure each adapter once more with its routers fitted to each prompt: " + RewiringOptions.Words + ".")]
    public string? Rewire { get; set; }

    /// <summary>The adapters are stages.</summary>
    [Option("sequence", HelpText =
        "The adapters are one after each data set of a sequence, the tasks those of the data sets, in the same order: "
        + "say what was forgotten.")]
    public bool Sequence { get; set; }

    /// <summary>Data of the tasks.</summary>
    [Option("data", MetaValue = "DIR", HelpText =
        "Directory of the tasks' data files (default: $PEFT_DATA, then the working directory).")]
    public string? Data { get; set; }

    /// <summary>Where the results go.</summary>
    [Option("output", Required = true, MetaValue = "DIR", HelpText =
        "Directory to write results.json and examples.parquet to.")]
    public string OutputDir { get; set; } = "";

    /// <summary>Replace.</summary>
    [Option("overwrite", HelpText = "Replace results in the output directory, finished or not.")]
    public bool Overwrite { get; set; }

    /// <summary>Gates.</summary>
    [Option("fail-under", MetaValue = "TASK.METRIC=X", HelpText =
        "Exit with code 3 if an adapter scores worse than this; may be repeated.")]
    public IEnumerable<string> FailUnder { get; set; } = [];

    /// <summary>Type of the base weights.</summary>
    [Option("dtype", Default = "auto", MetaValue = "T", HelpText =
        "Type of the base weights: auto, float32, bfloat16, float16 or float64.")]
    public string Dtype { get; set; } = "auto";

    /// <summary>Where to compute.</summary>
    [Option("device", Default = "auto", MetaValue = "D", HelpText = "Where to compute: auto, cpu or cuda:N.")]
    public string Device { get; set; } = "auto";

    /// <summary>Output for programs.</summary>
    [Option("json", HelpText = "Print the results as JSON on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(Output output) => Run(output, RankGroup.Alone);

    /// <inheritdoc/>
    public int Run(Output output, RankGroup group)
    {
        var ranks = group.Ranks;
        var gates = ranks.Together(
            () =>
            {
                Check();
                return FailUnder.Select(QualityGate.Parse).ToList();
            },
            Failures.Describe);
        var directory = new EvaluationDirectory(OutputDir, Overwrite);
        var stop = new StopRequest();
        using var progress = new EvaluationProgressBar(output);
        var run = ranks.Together(
            () =>
            {
                if (ranks.IsFirst())
                    directory.Check();
                var built = Build(group, progress, stop, output);
                foreach (var gate in gates)
                    gate.Check(built.Metrics);
                return built;
            },
            Failures.Describe);
        if (ranks.IsShared())
            Handshake.Compare(ranks, run.Compared);
        using var taken = ranks.Together(() => ranks.IsFirst() ? directory.Prepare() : null, Failures.Describe);
        using var signals = new Signals(
            stop, output, "stopping: finishing and saving this batch first (press Ctrl-C again to stop at once)");
        var results = run.Run(OutputDir, HelpPage.Version, DateTimeOffset.UtcNow);
        progress.Clear();
        if (results is null)
        {
            output.Say(
                "interrupted; the answers so far are saved: re-run the same command (without --overwrite) to resume");
            return ExitCode.Interrupted;
        }
        output.Say($"written: {Path.Combine(OutputDir, ResultsFile.Name)} and {ExamplesFile.Name}");
        output.Result(
            Json ? ResultsFile.ToJson(results).TrimEnd() : ResultsPrinting.WithIntervals(results, Output.Width));
        var failed = gates.SelectMany(gate => gate.Failures(results)).ToList();
        foreach (var failure in failed)
            output.Say(failure);
        return failed.Count > 0 ? ExitCode.GateFailed : ExitCode.Done;
    }

    private EvaluationRun Build(
        RankGroup group, EvaluationProgressBar progress, StopRequest stop, Output output) => EvaluationBuilder.Build(
            new EvaluationRequest
            {
                Adapters = [.. Adapters],
                Base = Base,
                MeasuresBase = !NoBase,
                Recipe = Recipe,
                Tasks = [.. TaskNames],
                Rows = Rows,
                BatchSize = BatchSize,
                Seed = Seed,
                ApplyChatTemplate = ApplyChatTemplate,
                ChatTemplate = ChatTemplate,
                Rewiring = Rewire is null ? null : RewiringOptions.Parse(Rewire, "--rewire"),
                IsSequence = Sequence,
                Data = Data
                    ?? (Environment.GetEnvironmentVariable("PEFT_DATA") is { Length: > 0 } named ? named : null),
                Dtype = Dtype,
                Device = group.Device(Device),
                Ranks = group.Ranks,
            },
            progress.Show, () => stop.IsRequested, output.Say);

    private IEnumerable<string> TaskNames => Tasks.SelectMany(word =>
        word.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));

    private void Check()
    {
        var faults = new Faults();
        if (Tasks.Any() && !TaskNames.Any())
            faults.Add("--tasks", "no name", "names of tasks, or a task file",
                "leave --tasks out for the tasks of the recipes");
        if (Rows is < 1)
            faults.Add("--rows", $"{Rows}", "a whole number of at least 1");
        if (BatchSize < 1)
            faults.Add("--batch-size", $"{BatchSize}", "a whole number of at least 1");
        if (!ModelOptions.Dtypes.Contains(Dtype))
            faults.Add("--dtype", Quote.Of(Dtype), Words.OneOf([.. ModelOptions.Dtypes]));
        if (Sequence && Adapters.Take(2).Count() < 2)
            faults.Add("--sequence", Words.Count(Adapters.Count(), "adapter"),
                "two or more with --adapter: the same one after each data set, in the order of training");
        if (Sequence && Rewire is not null)
            faults.Add("--sequence", "--rewire too", "one of the two");
        if (NoBase && !Adapters.Any())
            faults.Add("--no-base", "nothing is left to measure without --adapter", null,
                "name an adapter, or leave --no-base out");
        faults.ThrowIfAny();
    }
}
