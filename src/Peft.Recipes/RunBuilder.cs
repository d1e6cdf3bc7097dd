using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Chat;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Distributed;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Models.Loading;
using Peft.Recipes.Reading;
using Peft.Training;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;

namespace Peft.Recipes;

/// <summary>The composition root: a checked recipe becomes a run that is ready to start.</summary>
public static class RunBuilder
{
    /// <summary>Opens the data and the model of a recipe and puts the run together; writes nothing.</summary>
    /// <param name="recipe">The recipe.</param>
    /// <param name="output">Where the result, checkpoints and metrics go.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="watchers">Who is told of each step beside the files in the output directory.</param>
    /// <exception cref="UserException">Anything the recipe names cannot be used.</exception>
    public static PreparedRun Build(Recipe recipe, OutputDirectory output, Device device,
        params IReadOnlyList<IMetricSink> watchers) => Build(recipe, output, device, RankGroup.Alone, watchers);

    /// <summary>The same for one of several ranks; the first one writes.</summary>
    /// <param name="recipe">The recipe.</param>
    /// <param name="output">Where the result, checkpoints and metrics go.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="group">The ranks.</param>
    /// <param name="watchers">Who is told of each step beside the files in the output directory.</param>
    /// <exception cref="UserException">Anything the recipe names cannot be used.</exception>
    public static PreparedRun Build(Recipe recipe, OutputDirectory output, Device device, RankGroup group,
        IReadOnlyList<IMetricSink> watchers)
    {
        ResultDirectory.RequireApart(
            output.Path, OriginsOf(recipe).Select(origin => recipe.Paths.Resolve(origin.Path)));
        Func<TrainingData, HuggingFaceTokenizer, ITrainable> trainableOf = (data, tokenizer) =>
            recipe.Training.Continual.IsOn ? Continual(recipe, data, tokenizer, device)
            : recipe.Training.Manifold.Coefficient > 0 ? Manifold(recipe, data, tokenizer, device)
            : recipe.Method == Recipe.Full ? FullModel(recipe, data, tokenizer, device)
            : new AdapterTrainable(Adapters(recipe, data, tokenizer, device));
        if (!group.Ranks.IsFirst())
            return Build(recipe, output, device, [], null, trainableOf, group);
        var sinks = watchers.ToList();
        sinks.Add(new JsonLinesSink(Path.Combine(output.Path, JsonLinesSink.FileName)));
        if (recipe.Training.ReportTo.Contains("tensorboard"))
            sinks.Add(new TensorBoardSink(Path.Combine(output.Path, TensorBoardSink.FolderName), TimeProvider.System));
        return Build(recipe, output, device, sinks, Path.Combine(output.Path, JsonLinesSink.FileName), trainableOf,
            group);
    }

    private static string WithoutRouter(Recipe recipe) =>
        recipe.Method == Recipe.Full ? "method: full" : "a plain LoRA";

    // Source: RoMA, arXiv:2511.07419: routers of a trained mixture are tuned alone.
    private static ManifoldTrainable Manifold(
        Recipe recipe, TrainingData data, HuggingFaceTokenizer tokenizer, Device device)
    {
        const string Key = "training.manifold";
        var faults = new Faults();
        if (recipe.AdapterOptions is not { Router: not null } adapter)
            faults.Add(Key, WithoutRouter(recipe), "a mixture, whose routers are tuned");
        else if (adapter.Experts.Train)
            faults.Add("adapter.experts.train", $"true beside {Key}", "false", "RoMA tunes routers alone");
        if (recipe.AdapterFrom is null)
            faults.Add(
                "adapter.from", $"missing beside {Key}", "the bundle of a trained mixture",
                "its experts and routers are what is tuned");
        if (data.IsStreaming)
            faults.Add("data.streaming", $"true beside {Key}", "false", "every row is looked at before the first step");
        if (recipe.Data.Packing)
            faults.Add("data.packing", $"true beside {Key}", "false", "routing is compared row by row");
        faults.ThrowIfAny(recipe.Path);
        var contents = Adapters(recipe, data, tokenizer, device);
        return ManifoldTrainable.Of(
            contents, recipe.Training.Manifold, data, recipe.Training.PerDeviceEvalBatchSize, device);
    }

    // Source: SAME, arXiv:2602.01990: a stage goes on from the experts and routers of the one before.
    private static ContinualTrainable Continual(
        Recipe recipe, TrainingData data, HuggingFaceTokenizer tokenizer, Device device)
    {
        const string Key = "training.continual";
        var (faults, training) = (new Faults(), recipe.Training);
        if (recipe.AdapterOptions is not { Router: not null } adapter)
            faults.Add(
                Key, WithoutRouter(recipe), "a mixture, whose experts the tasks divide among them");
        else if (!adapter.Experts.Train)
            faults.Add("adapter.experts.train", $"false beside {Key}", "true", "each stage teaches experts its task");
        if (recipe.ExpertsFrom.Count > 0)
            faults.Add(
                "adapter.experts.from", $"{recipe.ExpertsFrom.Count} directories beside {Key}",
                "the bundle of the stage before as adapter.from, or nothing in the first stage");
        if (training.Manifold.Coefficient > 0)
            faults.Add(
                "training.manifold.coefficient", $"above 0 beside {Key}", "0", "it tunes routers of trained experts");
        if (training.WeightDecay > 0)
            faults.Add(
                "training.weight_decay", $"{RunHealth.ShownRate(training.WeightDecay)} beside {Key}", "0",
                "it would shrink the experts that are to stay as they are");
        if (data.IsStreaming)
            faults.Add("data.streaming", $"true beside {Key}", "false", "rows are looked at before the first step");
        faults.ThrowIfAny(recipe.Path);
        var contents = Adapters(recipe, data, tokenizer, device);
        using var scope = torch.NewDisposeScope();
        var before = recipe.AdapterFrom is { } stage
            ? ContinualFile.Read(recipe.Paths.Resolve(stage), contents.Adapted) : null;
        return ContinualTrainable.Of(
            contents, training.Continual, before, data, training.PerDeviceEvalBatchSize, device);
    }

    /// <summary>The run of a gate's training; nothing of it but the gate is kept.</summary>
    /// <param name="adapter">The adapter's directory.</param>
    /// <param name="recipe">What <see cref="GateTraining.RecipeOf"/> made.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="watchers">Who is told of each step.</param>
    /// <exception cref="UserException">Anything the recipe names cannot be used.</exception>
    public static PreparedRun BuildGate(string adapter, Recipe recipe, Device device,
        IReadOnlyList<IMetricSink> watchers) => Build(
        recipe, new OutputDirectory(adapter, null), device, watchers, null,
        (data, tokenizer) => new GateTrainable(
            Adapters(recipe, data, tokenizer, device, strict: false), adapter, recipe, data, device));

    private static PreparedRun Build(
        Recipe recipe, OutputDirectory output, Device device, IReadOnlyList<IMetricSink> sinks, string? metrics,
        Func<TrainingData, HuggingFaceTokenizer, ITrainable> trainableOf, RankGroup? group = null)
    {
        group ??= RankGroup.Alone;
        group.RequireShareable(recipe);
        var tokenizer = LoadTokenizer(recipe);
        var data = OpenData(recipe, tokenizer);
        var trainable = trainableOf(data, tokenizer);
        CheckFits(recipe, data, tokenizer);
        var run = TrainingRun.Of(trainable, data, recipe.Training, output.Path, device, recipe.Identity()) with
        {
            ResumeFrom = output.Resume,
            Inputs = InputsOf(recipe, tokenizer),
            Ranks = group.Ranks,
            DeviceRanks = group.DeviceRanks,
            Identity = group.Ranks.IsShared() ? RankGroup.IdentityOf(recipe, tokenizer) : [],
        };
        var health = new RunHealth(run, metrics);
        run = run with { Sinks = [.. sinks, health] };
        // Before anything is written.
        if (output.Resume is { } checkpoint)
            run = run with { RecipeIdentity = IdentityIn(checkpoint.Path, run.RecipeIdentity, run.Inputs) };
        TorchRuntime.GiveBackCodeOfTheStart();
        return new PreparedRun(recipe, output, tokenizer, run, health);
    }

    // The plans of RoMA and SAME follow from the adapter that they go on from.
    private static Dictionary<string, string> InputsOf(Recipe recipe, HuggingFaceTokenizer tokenizer)
    {
        var inputs = new Dictionary<string, string> { ["tokenizer"] = tokenizer.Sha256 };
        if (recipe.AdapterFrom is { } from && MeasuredBundle.FingerprintOf(recipe.Paths.Resolve(from)) is { } hash)
            inputs["adapter.from"] = hash;
        return inputs;
    }

    // The checkpoint's own wording of the recipe, which must be this one: keys that came after the version that wrote
    // it are at their defaults there.
    private static string IdentityIn(
        string checkpoint, string recipe, IReadOnlyDictionary<string, string> inputs)
    {
        var file = TrainerStateFile.Read(checkpoint);
        file.RequireSameInputs(checkpoint, inputs);
        (file with { Recipe = Recipe.IdentityOf(file.Recipe) ?? file.Recipe }).RequireSameRecipe(checkpoint, recipe);
        return file.Recipe;
    }

    /// <summary>The tokenizer of a recipe.</summary>
    /// <exception cref="UserException">A directory that the model section names is not there, or holds no
    /// tokenizer.</exception>
    public static HuggingFaceTokenizer LoadTokenizer(Recipe recipe)
    {
        var faults = new Faults();
        var model = recipe.Model;
        foreach (var (key, path) in new[]
                 {
                     ("model_name_or_path", model.ModelNameOrPath), ("from_config", model.FromConfig),
                     ("tokenizer", model.Tokenizer),
                 })
        {
            if (path is { Length: > 0 } && recipe.Paths.Resolve(path) is var found && !Directory.Exists(found)
                && !(key == "tokenizer" && File.Exists(found)))
            {
                faults.Add(
                    $"model.{key}", Quote.Of(path), "an existing directory in Hugging Face layout",
                    ModelOptions.AdviceFor(path, recipe.Paths.Folders));
            }
        }

        foreach (var (key, path) in OriginsOf(recipe).Where(
            origin => !Directory.Exists(recipe.Paths.Resolve(origin.Path))))
            faults.Add(
                key, Quote.Of(path), "an existing directory of an adapter",
                RecipeOf(path, recipe.Path) is { } earlier ? $"train it first: peft train {earlier}"
                    : MissingPath.Advice(path, recipe.Paths.Folders));
        faults.ThrowIfAny(recipe.Path);
        return HuggingFaceTokenizer.Load(recipe.Paths.Resolve(model.TokenizerDirectory));
    }

    // The recipe beside another one whose result has a directory's name: that of an earlier stage.
    private static string? RecipeOf(string result, string beside)
    {
        var path = Path.Combine(Path.GetDirectoryName(beside)!, Path.GetFileName(result.TrimEnd('/')) + ".yaml");
        return File.Exists(path) && Path.GetFullPath(path) != Path.GetFullPath(beside) ? path : null;
    }

    /// <summary>Opens the data of a recipe; paths are found as <see cref="RecipePaths"/> says.</summary>
    public static TrainingData OpenData(Recipe recipe, HuggingFaceTokenizer tokenizer) =>
        TrainingData.Open(
            WithFoundFiles(recipe), EncoderOf(recipe, tokenizer), Directory.GetCurrentDirectory(),
            template: TemplateOf(recipe, tokenizer));

    /// <summary>Finds the chat template of a recipe when it is asked for, once.</summary>
    public static Func<ChatTemplate> TemplateOf(Recipe recipe, HuggingFaceTokenizer tokenizer)
    {
        var found = new Lazy<ChatTemplate>(() => TemplateCatalog.Find(
            recipe.Data.ChatTemplate,
            LoadedModel.TemplatesOf(recipe.Paths.Resolve(recipe.Model.TokenizerDirectory), tokenizer),
            recipe.Paths.Resolve, "data.chat_template"));
        return () => found.Value;
    }

    /// <summary>How the texts of a recipe are encoded for its model.</summary>
    /// <exception cref="UserException">Tokenizer, data and model do not fit together.</exception>
    public static TextEncoder EncoderOf(Recipe recipe, HuggingFaceTokenizer tokenizer)
    {
        var config = ModelLoader.ReadConfig(recipe.Paths.Resolve(recipe.Model.Directory)).Config;
        var faults = new Faults();
        if (recipe.Data.MaxLength > config.MaxPositionEmbeddings)
            faults.Add("data.max_length", $"{recipe.Data.MaxLength}",
                $"at most the model's max_position_embeddings {config.MaxPositionEmbeddings}");
        faults.ThrowIfAny(recipe.Path);
        return TextEncoder.Of(tokenizer, config.EosTokenIds, config.VocabularySize);
    }

    /// <summary>The data section with every path as it was found.</summary>
    public static DataOptions WithFoundFiles(Recipe recipe) => recipe.Data with
    {
        Train = [.. recipe.Data.Train.Select(set => Found(recipe, set))],
        Eval = [.. recipe.Data.Eval.Select(set => Found(recipe, set))],
    };

    private static DataSetOptions Found(Recipe recipe, DataSetOptions set) =>
        set with { Files = [.. set.Files.Select(recipe.Paths.Resolve)], LookedIn = recipe.Paths.Folders };

    private static BundleContents Adapters(
        Recipe recipe, TrainingData data, HuggingFaceTokenizer tokenizer, Device device, bool strict = true)
    {
        var directory = recipe.Paths.Resolve(recipe.Model.Directory);
        var model = LoadedModel.OpenBase(directory, recipe.Model.Dtype, device);
        var identity = new BaseIdentity(recipe.Model.Directory, ModelLoader.Fingerprint(directory));
        var tasks = TaskRouting.NamesOf(recipe.AdapterOptions, data);
        var adapted = recipe.AdapterFrom is { } from
            ? Continued(recipe, recipe.Paths.Resolve(from), model, identity, tasks)
            : AdapterAttachment.Attach(model, recipe.AdapterOptions!, recipe.Training.Seed, strict);
        if (recipe.ExpertsFrom.Count > 0)
            ExpertLoader.Load(adapted, [.. recipe.ExpertsFrom.Select(recipe.Paths.Resolve)], identity);
        adapted.HoldExperts();
        return new BundleContents
        {
            Adapted = adapted,
            Base = identity,
            ResolvedRecipe = ConfigText.ToYaml(recipe.Resolved),
            Data = [.. data.Files.Select(f => new DataIdentity(f.File, f.Sha256))],
            Tasks = tasks,
            Seed = recipe.Training.Seed,
            ChatTemplate = RememberedTemplate(recipe, data, tokenizer),
        };
    }

    /// <summary>What is told of the adapters that a training goes on from: settings of a router that differ, and what
    /// has no effect in files of others.</summary>
    public static IReadOnlyList<string> RemarksOf(Recipe recipe)
    {
        var remarks = new List<string>();
        if (recipe is { AdapterFrom: { } from, AdapterOptions: { } options }
            && Bundle.ManifestOf(recipe.Paths.Resolve(from))?.Adapter is { } own)
            remarks.AddRange(own.RouterDifferencesOf(options).Select(difference =>
                $"adapter.{difference.Key} is {difference.Found}; {from} was trained with {difference.Wanted}"));
        foreach (var directory in OriginsOf(recipe).Select(origin => recipe.Paths.Resolve(origin.Path))
            .Where(directory => Bundle.ManifestOf(directory) is null))
            _ = LoraAdapterConfig.Read(directory, remarks.Add);
        return remarks;
    }

    // The adapters that a training goes on from, as the recipe names them.
    private static IEnumerable<(string Key, string Path)> OriginsOf(Recipe recipe) =>
    [
        .. recipe.ExpertsFrom.Select(path => ("adapter.experts.from", path)),
        .. recipe.AdapterFrom is { } from ? [("adapter.from", from)] : Array.Empty<(string, string)>(),
    ];

    private static AdaptedModel Continued(
        Recipe recipe, string from, CausalLanguageModel model, BaseIdentity identity, IReadOnlyList<string> tasks)
    {
        Bundle bundle;
        try
        {
            bundle = Bundle.Open(from);
        }
        catch (UserException error)
        {
            throw new UserException($"adapter.from: {error.Message}", error);
        }
        var earlier = TaskRouting.Of(from)?.Names ?? bundle.Manifest?.Tasks ?? [];
        if (tasks.Count > 0 && !tasks.Take(earlier.Count).SequenceEqual(earlier))
            throw UserException.At(
                "data.train", $"tasks {Words.AllOf(tasks)}",
                $"first {Words.AllOf(earlier)}, in this order, which the experts of {from} go by",
                "a data set of another task comes after them");
        return bundle.Continue(model, recipe.AdapterOptions!, recipe.Training.Seed, identity, recipe.Path);
    }

    // What it was trained or is measured with; where neither, the base's own stays the model's.
    private static string? RememberedTemplate(Recipe recipe, TrainingData data, HuggingFaceTokenizer tokenizer) =>
        (data.Template ?? (recipe.Evaluation.ApplyChatTemplate ? TemplateOf(recipe, tokenizer)() : null))?.Source;

    private static FullModelTrainable FullModel(
        Recipe recipe, TrainingData data, HuggingFaceTokenizer tokenizer, Device device)
    {
        var dtype = recipe.Model.Dtype == "auto" ? ScalarType.Float32 : DtypeNames.Parse(recipe.Model.Dtype);
        var directory = recipe.Paths.Resolve(recipe.Model.Directory);
        var model = recipe.Model.FromConfig is null
            ? ModelLoader.Load(directory, dtype, device)
            : ModelLoader.Create(ModelConfigFile.Read(directory), dtype, recipe.Training.Seed, device);
        var files = FullModelFiles.From(directory, recipe.Paths.Resolve(recipe.Model.TokenizerDirectory),
            RememberedTemplate(recipe, data, tokenizer));
        return new FullModelTrainable(model, files, DtypeNames.Parse(recipe.Model.SaveDtype));
    }

    private static void CheckFits(Recipe recipe, TrainingData data, HuggingFaceTokenizer tokenizer)
    {
        var faults = new Faults();
        var room = recipe.Data.MaxLength - 1 - (recipe.Evaluation.Tasks.Count == 0 ? 0
            : EncoderOf(recipe, tokenizer).Prefix.Count);
        foreach (var (at, task) in recipe.Evaluation.Tasks.Index().Where(entry => entry.Item.MaxNewTokens > room))
            faults.Add(
                $"evaluation.tasks[{at}].max_new_tokens", $"{task.MaxNewTokens}",
                $"at most {Math.Max(0, room)}, so that a prompt fits beside them into data.max_length "
                    + $"{recipe.Data.MaxLength}");
        if (data.TrainCount is null && recipe.Training.MaxSteps == 0)
            faults.Add("training.max_steps",
                $"0, and streaming leaves the number of sequences unknown ({data.WhyUnknown})",
                "at least 1, or data of a known size (Parquet without filter)");
        if (data.TrainCount == 0)
            faults.Add("data.train", "no rows", "at least one row",
                "look at the files and filters with peft data RECIPE");
        TaskRouting.Check(faults, recipe.AdapterOptions, data);
        if (recipe.AdapterOptions?.Router is { WhyNoDecoding: { } why } router && recipe.Evaluation.Tasks.Count > 0)
            faults.Add("evaluation.tasks", Words.Count(recipe.Evaluation.Tasks.Count, "task"),
                $"none with router {router.Kind}, which cannot write an answer: {why}",
                "write `evaluation.tasks: []`; held-out rows still give a loss");
        var held = data.Eval.Statistics.Tasks.Select(task => task.Key).ToList();
        if (recipe.Data.ChatTemplate is { } template && data.Template is null && !recipe.Evaluation.ApplyChatTemplate)
            faults.Add("data.chat_template", Quote.Of(template), "data sets of conversations",
                "remove it, or set `evaluation.apply_chat_template: true`");
        foreach (var task in recipe.Evaluation.Tasks.Where(task => !held.Contains(task.Name)))
            faults.Add("evaluation.tasks", Quote.Of(task.Name),
                held.Count == 0 ? "a task of held-out rows, of which there are none"
                    : $"a task of held-out rows: {Words.OneOf(held)}",
                NearestName.Question(task.Name, held));
        faults.ThrowIfAny(recipe.Path);
    }
}
