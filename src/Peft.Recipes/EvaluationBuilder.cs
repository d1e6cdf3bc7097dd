using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Chat;
using Peft.Data;
using Peft.Distributed;
using Peft.Evaluation;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Recipes.Reading;
using Peft.Training.Checkpoints;

namespace Peft.Recipes;

/// <summary>What is to be evaluated, as a command line says it.</summary>
public sealed record EvaluationRequest
{
    /// <summary>Bundles, or LoRA directories of Hugging Face PEFT.</summary>
    public IReadOnlyList<string> Adapters { get; init; } = [];

    /// <summary>The base model; null: the one that the first adapter names.</summary>
    public string? Base { get; init; }

    /// <summary>Whether the base model is measured too.</summary>
    public bool MeasuresBase { get; init; } = true;

    /// <summary>A recipe whose tasks are known; null: those of the adapters.</summary>
    public string? Recipe { get; init; }

    /// <summary>Names of tasks or task files; empty: those of the recipes.</summary>
    public IReadOnlyList<string> Tasks { get; init; } = [];

    /// <summary>Most rows of each task; null: what the tasks say.</summary>
    public int? Rows { get; init; }

    /// <summary>Rows answered together.</summary>
    public int BatchSize { get; init; } = 16;

    /// <summary>Seed of shots, resampling and permutations.</summary>
    public int Seed { get; init; }

    /// <summary>Whether all prompts are put through the chat template; if not, those of the tasks that say
    /// so.</summary>
    public bool ApplyChatTemplate { get; init; }

    /// <summary>The chat template: its text, name or file; null: what the adapters were trained with, or else the
    /// base's
    /// own.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>Measures every adapter once more with its routers fitted to each prompt; null: not.</summary>
    public RewiringOptions? Rewiring { get; init; }

    /// <summary>Whether the adapters are one after each data set of a sequence, whose tasks come in the same
    /// order.</summary>
    public bool IsSequence { get; init; }

    /// <summary>Folder of the tasks' data.</summary>
    public string? Data { get; init; }

    /// <summary>Type of the base weights.</summary>
    public string Dtype { get; init; } = "auto";

    /// <summary>Where to compute.</summary>
    public required Device Device { get; init; }

    /// <summary>The processes that share the rows.</summary>
    public ICommunicator Ranks { get; init; } = Alone.Instance;
}

/// <summary>
/// Puts an evaluation together: finds base, adapters, tasks and rows, and refuses what does not fit before anything is
/// computed.
/// </summary>
public static class EvaluationBuilder
{
    /// <summary>Resamplings behind each interval.</summary>
    internal const int BootstrapSamples = 1000;

    /// <summary>Share of the intervals.</summary>
    internal const double Confidence = 0.95;

    /// <summary>Opens everything but the models, which are loaded one after the other in the run.</summary>
    /// <param name="request">What is asked for.</param>
    /// <param name="progress">Told how far the run is.</param>
    /// <param name="isStopped">Asked whether to stop.</param>
    /// <param name="say">Told what cannot be shown, and why.</param>
    /// <exception cref="UserException">Anything named cannot be used.</exception>
    public static EvaluationRun Build(EvaluationRequest request, Action<EvaluationProgress> progress,
        Func<bool> isStopped, Action<string> say)
    {
        var directory = BaseDirectory(request);
        if (!Directory.Exists(directory))
            throw UserException.At(
                $"--base {directory}", "no such directory", "a model in Hugging Face layout",
                MissingPath.Advice(directory));
        var recipes = Recipes(request);
        var catalog = new TaskCatalog(
            recipes.SelectMany(recipe => recipe.Evaluation.TasksOn(recipe.Data, recipe.Path)), request.Data, recipes);
        var tasks = Templated(request, catalog.Find(request.Tasks));
        if (request.Rewiring is not null && tasks.FirstOrDefault(task => task.Kind == TaskKind.Perplexity) is { } plain)
            throw UserException.At(
                "--rewire", $"task {plain.Name} is of kind: perplexity, which has no prompts to fit routers to",
                "tasks with prompts");
        if (request.IsSequence && tasks.Count != request.Adapters.Count)
            throw UserException.At(
                "--sequence", $"{Words.Count(request.Adapters.Count, "adapter")} and "
                    + $"{Words.Count(tasks.Count, "task")} ({Words.AllOf([.. tasks.Select(task => task.Name)])})",
                "a task for each adapter, in the order of training", "name them with --tasks");
        var (tokenizerDirectory, tokenizer) = TokenizerOf(request, directory, recipes);
        var fingerprint = ModelLoader.Fingerprint(directory);
        var subjects = SubjectLoader.Subjects(request, directory, fingerprint);
        foreach (var subject in subjects)
        {
            // Routers that go by task refuse a task that nobody trained.
            foreach (var task in tasks)
                subject.TaskIdOf(task.Name);
            RequireDecoding(subject.Description.Path, tasks);
        }
        var data = TaskData.Open(
            tasks, request.Rows, request.Seed, catalog.Resolve,
            () => TemplateOf(request, tokenizerDirectory, tokenizer));
        var settings = new ResultsSettings(
            request.Seed, request.BatchSize, LoadedModel.TypeName(directory, request.Dtype, request.Device),
            BootstrapSamples, Confidence, ResultsBuilder.Correction);
        return new EvaluationRun(
            subjects, data, tokenizer, new MeasuredBase(NameOf(directory), fingerprint),
            settings)
        {
            Progress = progress,
            IsStopped = isStopped,
            Ranks = request.Ranks,
            Sequence = !request.IsSequence ? null : new(
                [.. subjects.Select(subject => subject.Description).Where(one => one.Kind == Subject.AdapterKind)
                    .Select(one => one.Name)],
                [.. tasks.Select(task => task.Name)]),
            Say = say,
            Recorded = Recorded(recipes, isNamed: request.Recipe is not null, say),
        };
    }

    private static void RequireDecoding(string adapter, IReadOnlyList<EvaluationTask> tasks)
    {
        if (Bundle.ManifestOf(adapter)?.Adapter.Router is { WhyNoDecoding: { } why } router
            && tasks.FirstOrDefault(task => task.Kind == TaskKind.Generation) is { } written)
            throw UserException.At(
                adapter, $"router {router.Kind} cannot write an answer, which task {written.Name} needs: {why}",
                "tasks of kind: multiple_choice, classification or perplexity");
    }

    private static IReadOnlyList<EvaluationTask> Templated(
        EvaluationRequest request, IReadOnlyList<EvaluationTask> tasks)
    {
        if (!request.ApplyChatTemplate)
            return tasks;
        return tasks.FirstOrDefault(task => task.Kind == TaskKind.Perplexity) is { } plain
            ? throw UserException.At(
                "--apply-chat-template", $"task {plain.Name} is of kind: perplexity, which has no prompts",
                "tasks with prompts")
            : [.. tasks.Select(task => task with { ApplyChatTemplate = true })];
    }

    // All subjects are asked the same tokens.
    private static (string Directory, HuggingFaceTokenizer Tokenizer) TokenizerOf(
        EvaluationRequest request, string directory, List<Recipe> recipes)
    {
        var own = request.Adapters.Select(adapter => (
            Who: adapter, Directory: LoadedModel.TokenizerOf(directory, adapter))).ToList();
        if (own.Count == 0)
            own.Add((directory, request.Recipe is not null && recipes is [{ Model.Tokenizer: { } named } recipe]
                ? recipe.Paths.Resolve(named) : directory));
        var first = HuggingFaceTokenizer.Load(own[0].Directory);
        foreach (var (who, other) in own.DistinctBy(entry => entry.Directory).Skip(1))
        {
            if (HuggingFaceTokenizer.Load(other).Sha256 != first.Sha256)
                throw UserException.At(
                    "--adapter", $"{own[0].Who} and {who} were trained with different tokenizers",
                    "one tokenizer for all", "evaluate them apart");
        }
        return (own[0].Directory, first);
    }

    // All subjects are asked the same texts.
    private static ChatTemplate TemplateOf(
        EvaluationRequest request, string directory, HuggingFaceTokenizer tokenizer)
    {
        const string Option = "--chat-template";
        if (request.ChatTemplate is not null || request.Adapters.Count == 0)
            return LoadedModel.TemplateOf(directory, tokenizer, null, request.ChatTemplate, Option);
        var own = request.Adapters.Select(
            adapter => (adapter, Template: LoadedModel.TemplateOf(directory, tokenizer, adapter, null, Option)))
            .ToList();
        var other = own.Find(entry => entry.Template.Source != own[0].Template.Source);
        return other.Template is null ? own[0].Template : throw UserException.At(
            Option, $"missing, and {own[0].adapter} and {other.adapter} were trained with different ones",
            "one chat template for all", "name it, or evaluate them apart");
    }

    // A bundle's own recipe may have left its recorded results behind; a recipe that is named must have them.
    private static List<(string Name, string Path, ResultsDocument Results)> Recorded(
        IReadOnlyList<Recipe> recipes, bool isNamed, Action<string> say)
    {
        var recorded = new List<(string, string, ResultsDocument)>();
        foreach (
            var (recipe,
            baseline) in recipes.SelectMany(recipe => recipe.Evaluation.Baselines.Select(own => (recipe, own)))
            .DistinctBy(entry => entry.own.Name))
        {
            var path = recipe.Paths.Resolve(baseline.Results);
            if (isNamed || File.Exists(path))
                recorded.Add((baseline.Name, baseline.Results, ResultsFile.Load(path)));
            else
                say($"{baseline.Name} is left out: {baseline.Results}, which {recipe.Path} names, is not found");
        }
        return recorded;
    }

    /// <summary>The last name of a path; of one that many have (adapter, checkpoint-300) the last two.</summary>
    internal static string NameOf(string path)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        var (name, folder) = (Path.GetFileName(full), Path.GetFileName(Path.GetDirectoryName(full)));
        var isCommon = name == Subject.AdapterKind || name.StartsWith(CheckpointStore.Prefix, StringComparison.Ordinal);
        return isCommon && folder is { Length: > 0 } ? $"{folder}/{name}" : name;
    }

    private static string BaseDirectory(EvaluationRequest request)
    {
        if (request.Base is not null)
            return request.Base;
        if (request.Adapters.Count > 0)
            return LoadedModel.BaseOf(request.Adapters[0]);
        if (request.Recipe is null)
            throw UserException.At("--adapter", "missing", "one or more adapters, or a base with --base DIR");
        var recipe = Recipe.Load(request.Recipe, []);
        return recipe.Paths.Resolve(recipe.Model.Directory);
    }

    private static List<Recipe> Recipes(EvaluationRequest request) => request.Recipe is { } named
        ? [Recipe.Load(named, [])]
        : [.. request.Adapters.Select(adapter => BundleFiles.PathOf(adapter, BundleFiles.Recipe)).Where(
        File.Exists).Select(path => Recipe.Load(path, []))];
}
