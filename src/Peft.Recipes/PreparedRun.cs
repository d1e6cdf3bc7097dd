using Peft.Adapters.Bundles;
using Peft.Data;
using Peft.Distributed;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.Tokenizers;
using Peft.Training;

namespace Peft.Recipes;

/// <summary>A run that is ready to start: trains, keeps the result, measures it.</summary>
public sealed class PreparedRun(
    Recipe recipe, OutputDirectory output, HuggingFaceTokenizer tokenizer, TrainingRun run, RunHealth health)
        : IDisposable
{
    private TaskMeasurement? _tasks;

    /// <summary>The recipe.</summary>
    public Recipe Recipe => recipe;

    /// <summary>What is trained.</summary>
    public ITrainable Trainable => run.Trainable;

    /// <summary>What results call what it trains.</summary>
    public string ResultName => SubjectLoader.NotAsBase(EvaluationBuilder.NameOf(output.Path), output.Path);

    /// <summary>The data.</summary>
    public TrainingData Data => run.Data;

    /// <summary>The parts that the loop works with.</summary>
    public TrainingRun Training => run;

    /// <summary>What should make the user look again at the end of the run; empty for a run that looks well.</summary>
    public IReadOnlyList<string> Warnings => health.Warnings;

    /// <summary>About how much the run writes: its result, the checkpoints kept at one time, and its numbers.</summary>
    /// <remarks>Unit: bytes. A checkpoint is written before the oldest is removed.</remarks>
    public long DiskBytes
    {
        get
        {
            const long Step = 800;         // of metrics.jsonl and an event file
            const long ModuleStep = 1000;  // where routing is reported
            var options = run.Options;
            var checkpoint = run.Trainable.SavedBytes + run.Optimizer.StateByteCount;
            var written = options.SaveSteps > 0 ? (run.TotalSteps - 1) / options.SaveSteps : 0;
            var kept = options.SaveTotalLimit > 0 ? Math.Min(written, options.SaveTotalLimit + 1) : written;
            if (options.LoadBestModelAtEnd && run.Data.Eval.Count > 0)
                kept++;
            return run.Trainable.SavedBytes + kept * checkpoint + run.TotalSteps * Step
                + run.TotalSteps / options.LoggingSteps * run.Trainable.Modules.Count(module => module.Router
                is not null) * ModuleStep;
        }
    }

    /// <summary>Tokens that this process computed a second of its own computing; 0 before it trained.</summary>
    public double TokensPerSecond { get; private set; }

    /// <summary>Seconds of a step that this process was in sums over the ranks or waited for others; 0 before it
    /// trained.</summary>
    public double ExchangeSecondsPerStep { get; private set; }

    /// <summary>Number of trainable parameters.</summary>
    public long TrainableParameters => run.Trainable.Parameters.Sum(p => p.Parameter.numel());

    /// <summary>
    /// The number of trainable parameters of each module with adapters, or of each parameter of a whole model.
    /// </summary>
    public IReadOnlyList<(string Name, long Count)> TrainableParameterCounts => Trainable.ParameterCounts;

    /// <summary>Whether the loss did not fall, or is that of guessing: the result is hardly of use.</summary>
    public bool HasFailed => health.HasFailed;

    /// <summary>A prompt as the data has them: of the first held-out row, or else of the first row; the beginning of a
    /// plain text. Null where rows are streamed and none is held out, or max_length left part of it out.</summary>
    public string? ExamplePrompt
    {
        get
        {
            const int Beginning = 6; // tokens
            if (run.Data.Eval.Count == 0 && (run.Data.IsStreaming || run.Data.Train.Count == 0))
                return null;
            var sequence = (run.Data.Eval.Count > 0 ? run.Data.Eval : run.Data.Train)[0];
            if (sequence.CutTokens > 0)
                return null;
            var from = sequence.Learned is [{ Start: > 1 and var start }, ..] ? start : Beginning;
            var text = tokenizer.Decode(sequence.Ids.Take(from), skipSpecialTokens: true).Trim();
            return text.Length > 0 ? text : null;
        }
    }

    /// <summary>The task of <see cref="ExamplePrompt"/>, where the experts go by task; else null.</summary>
    public string? ExampleTask
    {
        get
        {
            if (TaskRouting.Of(recipe.Path, recipe.AdapterOptions, run.Data) is not { } tasks)
                return null;
            var rows = run.Data.Eval.Count > 0 || run.Data.IsStreaming ? run.Data.Eval : run.Data.Train;
            return rows.Count > 0 ? run.Data.TaskNames[rows[0].TaskId] : tasks.Names[0];
        }
    }

    /// <summary>Reads what will be measured and compared: hours later would be late to hear that it cannot
    /// be.</summary>
    /// <exception cref="UserException">Rows of a task cannot be used, or recorded results are missing.</exception>
    public void RequireMeasurable()
    {
        Baselines();
        if (recipe.Evaluation.Tasks.Count > 0)
            _tasks ??= new TaskMeasurement(recipe, tokenizer, run.Ranks);
    }

    /// <summary>Trains; when all steps are done, writes the result into the output directory.</summary>
    public TrainingOutcome Train(StopRequest stop)
    {
        RequireMeasurable();
        var loop = new TrainingLoop(run);
        loop.Open();
        // A bundle that a continued run found has its own, which its manifest vouches for; that one is replaced with
        // the bundle.
        if (run.Ranks.IsFirst() && !BundleFiles.IsBundle(output.Path))
            AtomicFile.WriteText(Path.Combine(output.Path, BundleFiles.Recipe), ConfigText.ToYaml(recipe.Resolved));
        var outcome = loop.Run(stop);
        (TokensPerSecond, ExchangeSecondsPerStep) = (loop.OwnTokensPerSecond, loop.ExchangeSecondsPerStep);
        if (outcome.End == TrainingEnd.Finished && run.Ranks.IsFirst())
            run.Trainable.SaveResult(output.Path);
        run.Ranks.Barrier();
        return outcome;
    }

    /// <summary>
    /// Measures what was trained, and the base model where the recipe wants it, on the recipe's tasks; keeps the
    /// numbers
    /// beside the result.
    /// </summary>
    /// <param name="say">Told what is measured, and what cannot be shown and why.</param>
    /// <param name="stop">Ends it between two batches.</param>
    /// <returns>The results, recorded ones beside them; null where the recipe names no tasks.</returns>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public ResultsDocument? Measure(Action<string> say, StopRequest stop)
    {
        if (recipe.Evaluation.Tasks.Count == 0)
            return null;
        var tasks = _tasks ??= new TaskMeasurement(recipe, tokenizer, run.Ranks);
        var name = ResultName;
        var what = $"{Words.Count(tasks.Rows, "row")} of {Words.AllOf(tasks.Names)}";
        say($"evaluating {name} on {what}");
        List<MeasuredSubject> measured =
            [tasks.Of(Described(name), new(run.Trainable.Model, run.Trainable.Adapted), TaskIdOf, stop)];
        // What is measured is kept before the base takes its time.
        if (run.Ranks.IsFirst())
            ResultsBuilder.Save(output.Path, tasks.Results(measured, run.Device, compares: false), measured);
        if (recipe.Evaluation.Base && recipe.Method != Recipe.Full)
        {
            using var model = LoadedModel.OpenBase(recipe.Paths.Resolve(recipe.Model.Directory), recipe.Model.Dtype,
                run.Device);
            say($"evaluating the base model on {what}");
            measured.Insert(0, tasks.Of(tasks.Base, new(model, null), TaskIdOf, stop));
        }
        if (!run.Ranks.IsFirst())
            return null;
        var results = tasks.Results(measured, run.Device, compares: true);
        foreach (var (recorded, path, document) in Baselines())
            results = results.WithRecorded(recorded, path, document, say);
        ResultsBuilder.Save(output.Path, results, measured);
        return results;
    }

    /// <summary>The results that the recipe wants beside its own, as recorded.</summary>
    /// <exception cref="UserException">A file of recorded results is missing or damaged.</exception>
    public IReadOnlyList<(string Name, string Path, ResultsDocument Results)> Baselines() =>
        [.. recipe.Evaluation.Baselines.Select(
            b => (b.Name, b.Results, ResultsFile.Load(recipe.Paths.Resolve(b.Results))))];

    /// <summary>Frees model and data.</summary>
    public void Dispose()
    {
        foreach (var sink in run.Sinks)
            sink.Dispose();
        run.Optimizer.Dispose();
        run.Trainable.Dispose();
        run.Data.Dispose();
    }

    // Ids of tasks are those of training.
    private long? TaskIdOf(string task) =>
        TaskRouting.Of(recipe.Path, recipe.AdapterOptions, run.Data)?.IdOf(task)
        ?? run.Data.TaskNames.Index().Where(known => known.Item == task).Select(
            known => (long?)known.Index).FirstOrDefault();

    // Another rank's answers count under the first one's name for them.
    private Subject Described(string name) => (!run.Ranks.IsFirst()
        ? new Subject(name, Subject.AdapterKind, output.Path, recipe.Method, null, "", 0, null, null, 0, null, null)
        : recipe.Method == Recipe.Full
        ? new Subject(name, Subject.AdapterKind, output.Path, Recipe.Full, null,
        Models.ModelLoader.Fingerprint(output.Path), 0, null, null, 0, null, null)
        : SubjectLoader.Adapter(output.Path, name)) with
    { TrainableParameters = TrainableParameters };
}
