using CommandLine;
using Peft.Adapters.Lora;
using Peft.Cli.Printing;
using Peft.Distributed;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Recipes;
using Peft.Training;
using Peft.Training.Checkpoints;

namespace Peft.Cli.Verbs;

/// <summary>Trains what a recipe says.</summary>
[Verb("train", HelpText = "Train a recipe and write an adapter bundle or a model.")]
public sealed class TrainVerb : IRankedVerb
{
    /// <summary>The recipe.</summary>
    [Value(0, MetaName = "RECIPE", Required = true, HelpText = "Recipe file, such as recipes/default.yaml.")]
    public string Recipe { get; set; } = "";

    /// <summary>Overrides.</summary>
    [Option("set", MetaValue = "a.b=v", HelpText = "Override a key of the recipe; may be repeated.")]
    public IEnumerable<string> Set { get; set; } = [];

    /// <summary>Where the result goes.</summary>
    [Option("output", MetaValue = "DIR", HelpText =
        "Output directory (default: adapters/ followed by the recipe's name).")]
    public string? OutputDir { get; set; }

    /// <summary>Continue.</summary>
    [Option("resume", MetaValue = "auto|DIR", HelpText =
        "Resume from the newest checkpoint in the output directory, or from a given one.")]
    public string? Resume { get; set; }

    /// <summary>Replace.</summary>
    [Option("overwrite", HelpText = "Replace the result of an earlier run in the output directory.")]
    public bool Overwrite { get; set; }

    /// <summary>Only show.</summary>
    [Option("dry-run", HelpText =
        "Print the resolved recipe, the trainable parameters and a memory estimate, and stop.")]
    public bool DryRun { get; set; }

    /// <summary>Where to compute.</summary>
    [Option("device", Default = "auto", MetaValue = "D", HelpText = "Where to compute: auto, cpu or cuda:N.")]
    public string Device { get; set; } = "auto";

    /// <summary>Output for programs.</summary>
    [Option("json", HelpText = "Print the results as JSON on standard output.")]
    public bool Json { get; set; }

    /// <summary>More words.</summary>
    [Option("verbose", HelpText = "At the end, show the memory and the tokens per second of each rank.")]
    public bool Verbose { get; set; }

    /// <inheritdoc/>
    /// <remarks>The builder of the run starts libtorch, so that the faults of a recipe are reported first.</remarks>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output) => Run(output, RankGroup.Alone);

    /// <inheritdoc/>
    public int Run(Output output, RankGroup group)
    {
        var ranks = group.Ranks;
        var recipe = ranks.Together(LoadRecipe, Failures.Describe);
        group.WaitAtMost(TimeSpan.FromSeconds(recipe.Training.DdpTimeout));
        var path = OutputDir ?? recipe.OutputDir;
        var directory = Directory(path, ranks);
        if (group.Warning is { } idle)
            output.Say($"warning: {idle}");
        var device = ranks.Together(() => StartOn(group), Failures.Describe);
        group.Connect(device);
        using var run = ranks.Together(
            () => RunBuilder.Build(recipe, directory, device, group,
                [new TrainingProgress(output, recipe.Training.LoggingSteps)]), Failures.Describe);
        var memory = ranks.Together(() => Fitting(run, group), Failures.Describe);
        foreach (var key in recipe.Ineffective().Concat(RunBuilder.RemarksOf(recipe)))
            output.Say($"warning: {key}");
        if (DryRun)
        {
            run.RequireMeasurable();
            ShowPlan(run, memory, output);
            TellOfOutput(path, output);
            return ExitCode.Done;
        }
        if (memory.Warning(MachineMemory.Free(memory.Processes)) is { } shortage)
            output.Say($"warning: {shortage}");

        // A row that cannot be used is told here.
        var losses = ranks.Together(() => DataVerb.Losses(run.Data, recipe.Data).ToList(), Failures.Describe);
        using var taken = ranks.Together(() => Take(directory, run, ranks), Failures.Describe);
        if (taken?.IsHeld == false)
            output.Say($"{path}: this file system has no locks; make sure that no other run writes there");
        if (directory.BeginsAnew)
            output.Say($"{path}: no checkpoint to resume from; starting at the first step");
        Announce(run, directory, losses, output);
        var stop = new StopRequest();
        TrainingOutcome outcome;
        using (new Signals(stop, output))
            outcome = run.Train(stop);
        if (Verbose)
            ShowRanks(run, ranks, output);
        if (outcome.End == TrainingEnd.Interrupted)
        {
            const string Resume = "re-run the same command with --resume auto to resume";
            output.Say(
                $"interrupted after step {outcome.Steps}; everything is saved in {outcome.Checkpoint}: {Resume}");
            if (HelpPage.UnderMake(Resume) is { } hint)
                output.Say(hint);
            return ExitCode.Interrupted;
        }
        output.Say($"{directory.Path}: saved after {Words.Count(outcome.Steps, "step")}" +
            (recipe.Training.LoadBestModelAtEnd && outcome.BestStep is { } best
                ? $" (parameters of step {best}, the best)" : ""));
        foreach (var line in outcome.Streamed is { } streamed ? DataVerb.Losses(streamed, recipe.Data) : [])
            output.Say(line);
        if (outcome.SkippedSteps > 0)
            output.Say(
                $"skipped steps: {outcome.SkippedSteps} (a number in them was not finite; "
                + "metrics.jsonl marks them with \"skipped\")");
        var isMeasured = ShowResults(run, stop, output);
        foreach (var warning in run.Warnings)
            output.Say($"warning: {warning}");
        if (!isMeasured)
        {
            output.Say($"interrupted in the evaluation; {path} is complete: measure it with {Evaluate(run, path)}");
            return ExitCode.Interrupted;
        }
        output.Say($"next: {string.Join("; ", run.HasFailed ? [Again(run)] : Next(run, path))}");
        return ExitCode.Done;
    }

    // The first rank decides for all: it alone writes there.
    private OutputDirectory Directory(string path, ICommunicator ranks)
    {
        var decided = ranks.Together(() => ranks.IsFirst() ? Decide(path) : null, Failures.Describe);
        var resume = ranks.TextOfFirst(decided?.Resume?.Path ?? "");
        return ranks.Together(() => decided ?? new OutputDirectory(
            path, resume.Length == 0 ? null : CheckpointStore.Open(resume)), Failures.Describe);
    }

    private OutputDirectory Decide(string path)
    {
        if (!DryRun)
            OutputDirectory.RequireFree(path);
        // A plan writes nothing: only what it would continue matters to it.
        return DryRun && Resume is null
            ? new OutputDirectory(path, null) : OutputDirectory.Decide(path, Resume, Overwrite);
    }

    private Recipe LoadRecipe() => DryRun && Json
        ? throw UserException.At("--json", "given with --dry-run, which measures nothing", "one of the two")
        : Recipes.Recipe.Load(Recipe, Set);

    private Device StartOn(RankGroup group)
    {
        group.StartTensors();
        return group.Device(Device);
    }

    private static MemoryEstimate Fitting(PreparedRun run, RankGroup group)
    {
        var memory = MemoryEstimate.Of(run, group.Launch.LocalSize);
        memory.RequireToFit(run, MachineMemory.Whole);
        return memory;
    }

    // What a rank holds and does, told by the first.
    private static void ShowRanks(PreparedRun run, ICommunicator ranks, Output output)
    {
        const double MiB = 1 << 20;
        using var process = System.Diagnostics.Process.GetCurrentProcess();
        var lines = ranks.Texts(string.Create(
            System.Globalization.CultureInfo.InvariantCulture,
            $"{Environment.MachineName}: {run.TokensPerSecond:N0} tokens/s of its own, "
                + $"{1000 * run.ExchangeSecondsPerStep:N1} ms a step in sums and waiting for others, "
                + $"{process.PeakWorkingSet64 / MiB:N0} MiB at most, "
                + $"{Words.Count(torch.get_num_threads(), "thread")}"));
        foreach (var (rank, line) in lines.Index())
            output.Say($"rank {rank} on {line}");
    }

    private static DirectoryLock? Take(OutputDirectory directory, PreparedRun run, ICommunicator ranks)
    {
        if (!ranks.IsFirst())
            return null;
        directory.RequireSpace(run.DiskBytes);
        return directory.Prepare();
    }

    // Of a run that learned nothing there is nothing to use: mostly its learning rate was to blame.
    private string Again(PreparedRun run)
    {
        const string Key = "training.learning_rate";
        const double TooSmall = 1e-6;
        var rate = run.Recipe.Training.LearningRate;
        var other = RunHealth.ShownRate(rate < TooSmall ? 1e-4 : rate / 10);
        var sets = Set.Where(set => !set.StartsWith(Key + "=", StringComparison.Ordinal)).Append($"{Key}={other}")
            .Select(set => $"--set {CommandLineWords.Quoted(set)}");
        return $"train again with another learning rate ({Key} was "
            + $"{RunHealth.ShownRate(rate)}): {HelpPage.Command} train "
            + $"{CommandLineWords.Quoted(Recipe)} {string.Join(' ', sets)}"
            + (OutputDir is null ? "" : $" --output {CommandLineWords.Quoted(OutputDir)}") + " --overwrite";
    }

    private static string Model(PreparedRun run, string path) =>
        $"--{(run.Recipe.Method == Recipes.Recipe.Full ? "base" : "adapter")} {CommandLineWords.Quoted(path)}";

    // A bundle knows its recipe; a model does not.
    private static string Evaluate(PreparedRun run, string path) =>
        $"{HelpPage.Command} eval {Model(run, path)} "
        + (run.Recipe.Method == Recipes.Recipe.Full ? $"--recipe {CommandLineWords.Quoted(run.Recipe.Path)} " : "")
        + $"--output {CommandLineWords.Quoted(Path.Combine(path, OutputDirectory.Evaluation))}";

    // What one does with a result, with its real paths.
    private static IEnumerable<string> Next(PreparedRun run, string path)
    {
        var isFull = run.Recipe.Method == Recipes.Recipe.Full;
        var model = Model(run, path);
        if (run.Recipe.Evaluation.Tasks.Count > 0 && !isFull)
            yield return Evaluate(run, path);
        var task = run.ExampleTask is { } name ? $" --task {CommandLineWords.Quoted(name)}" : "";
        if (run.Recipe.AdapterOptions?.Router?.WhyNoDecoding is null)
            yield return run.Data.Template is null
                ? $"{HelpPage.Command} generate {model}{task} --prompt {Prompt(run)}"
                : $"{HelpPage.Command} chat {model}{task}";
        // A plain LoRA on the base as it is, is in PEFT's form already.
        if (run.Recipe.AdapterOptions is { } options
            && (!options.IsPlainLora || WeightInitialization.ChangesBase(options.InitLoraWeights)))
            yield return $"{HelpPage.Command} adapter export {CommandLineWords.Quoted(path)} --output "
                + $"{CommandLineWords.Quoted(Beside(path))}";
    }

    // As the rows have them: what an adapter learned depends on the words around a question.
    private static string Prompt(PreparedRun run)
    {
        const int Longest = 100;
        const int End = 30;
        if (run.ExamplePrompt is not { } prompt)
            return "TEXT";
        var runes = prompt.EnumerateRunes().ToList();
        return CommandLineWords.Quoted(runes.Count <= Longest ? prompt
            : $"{string.Concat(runes.Take(Longest - End))} ... {string.Concat(runes.TakeLast(End))}");
    }

    private static string Beside(string path)
    {
        var trimmed = Path.TrimEndingDirectorySeparator(path);
        return (Path.GetFileName(trimmed) is "." or ".." ? Path.GetFullPath(trimmed) : trimmed) + "-peft";
    }

    private static void Announce(
        PreparedRun run, OutputDirectory directory, IReadOnlyList<string> losses, Output output)
    {
        output.Say(
            $"{run.Recipe.Name}: {run.TrainableParameters:N0} trainable parameters on a base of " +
            $"{run.Trainable.Model.BaseParameters.Sum(p => p.Parameter.numel()):N0} " +
            $"({run.Trainable.Model.Dtype}, {run.Training.Device})");
        output.Say(
            $"{DataVerb.Summary(run.Data, run.Recipe.Data)}; {Words.Count(run.Training.TotalSteps, "step")}; " +
            $"{Words.Count(torch.get_num_threads(), "thread")}; writing {directory.Path}");
        foreach (var line in losses)
            output.Say(line);
    }

    private static void ShowPlan(PreparedRun run, MemoryEstimate memory, Output output)
    {
        output.Result(ConfigText.ToYaml(run.Recipe.Resolved).TrimEnd());
        output.Result("");
        output.Result(Parameters(run).ToString());
        output.Result("");
        if (Rates(run) is { } rates)
        {
            output.Result(rates);
            output.Result("");
        }
        output.Result(
            $"data: {DataVerb.Summary(run.Data, run.Recipe.Data)}; {Words.Count(run.Training.TotalSteps, "step")}");
        foreach (var line in DataVerb.Losses(run.Data, run.Recipe.Data))
            output.Result(line);
        output.Result(memory.ToString());
        if (memory.Warning(MachineMemory.Free(memory.Processes)) is { } warning)
            output.Result($"warning: {warning}");
    }

    // Modules that differ in nothing but their layer share a line.
    private static TextTable Parameters(PreparedRun run)
    {
        var table = new TextTable("module", "layers", "trainable parameters", "in all");
        foreach (var group in run.TrainableParameterCounts.GroupBy(module =>
            (Name: ModulePattern.WithoutLayer(module.Name), module.Count)))
        {
            var layers = group.Key.Name.Contains('*', StringComparison.Ordinal) ? $"{group.Count()}" : "";
            table.Add(group.Key.Name, layers, $"{group.Key.Count:N0}", $"{group.Sum(module => module.Count):N0}");
        }
        table.Add("all", "", "", $"{run.TrainableParameters:N0}");
        return table;
    }

    // Nothing where one rate trains everything.
    private static string? Rates(PreparedRun run)
    {
        var groups = LearningRates.Of(run.Recipe.Training, run.Trainable.Parameters);
        if (groups.Count == 1)
            return null;
        var table = new TextTable("learning rate", "training key", "trainable parameters", "trains");
        foreach (var group in groups)
            table.Add(
                RunHealth.ShownRate(run.Recipe.Training.LearningRate * group.Multiplier), group.Key,
                $"{group.Count:N0}", string.Join(", ", group.Kinds));
        return table.ToString();
    }

    // A run with these options would refuse it: better heard now.
    private void TellOfOutput(string path, Output output)
    {
        try
        {
            OutputDirectory.Decide(path, Resume, Overwrite);
            output.Result($"output: {path}");
        }
        catch (UserException error)
        {
            output.Result(Quote.Escaped($"warning: {error.Message}"));
        }
    }

    // False where it was stopped.
    private bool ShowResults(PreparedRun run, StopRequest stop, Output output)
    {
        using var signals = new Signals(
            stop, output, "stopping: giving the evaluation up (press Ctrl-C again to stop at once)");
        ResultsDocument? results;
        try
        {
            results = run.Measure(output.Say, stop);
        }
        catch (OperationCanceledException) when (stop.IsRequested || run.Training.Ranks.IsShared()) // of any rank
        {
            return false;
        }
        if (Json)
            output.Result(results is null
                ? ResultsPrinting.Json(run.ResultName, run.TrainableParameters)
                : ResultsPrinting.Json(results));
        else if (results is not null)
            Show(results, output);
        return true;
    }

    private static void Show(ResultsDocument results, Output output)
    {
        // The report's own sentence, so that the two never say different things.
        output.Result("");
        output.Result(VerdictWriter.Of(results).Headline);
        output.Result("");
        output.Result(ResultsPrinting.ByTask(results, Output.Width));
    }
}
