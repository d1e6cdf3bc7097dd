using Peft.Adapters.Lora;
using Peft.Data;
using Peft.Evaluation;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Recipes.Reading;
using Peft.Training;

namespace Peft.Recipes;

/// <summary>A recipe, read and checked: what to train, on what, how, and what to measure.</summary>
public sealed record Recipe
{
    /// <summary>Trains adapters on a frozen base.</summary>
    public const string Adapter = "adapter";

    /// <summary>Trains all parameters.</summary>
    public const string Full = "full";

    private const string OutputKey = "output_dir";

    // May differ between a checkpoint's recipe and the one that continues it: they change no number of the training.
    private static readonly string[] FreeKeys =
        ["logging_steps", "save_steps", "save_total_limit", "report_to", "per_device_eval_batch_size", "on_non_finite",
         "gradient_checkpointing", "ddp_timeout"];

    /// <summary>The file.</summary>
    public required string Path { get; init; }

    /// <summary>Finds the files that the recipe names.</summary>
    public required RecipePaths Paths { get; init; }

    /// <summary>What is trained: <see cref="Adapter"/> or <see cref="Full"/>.</summary>
    public required string Method { get; init; }

    /// <summary>The base model.</summary>
    public required ModelOptions Model { get; init; }

    /// <summary>The adapters; null with <c>method: full</c>.</summary>
    public AdapterOptions? AdapterOptions { get; init; }

    /// <summary>The trained adapter that is trained on (recipe key <c>adapter.from</c>), experts, routers and all;
    /// null: a fresh one.</summary>
    public string? AdapterFrom { get; init; }

    /// <summary>Where the experts' first values come from (recipe key <c>adapter.experts.from</c>): a bundle of a
    /// mixture, or a LoRA directory for each expert; empty: fresh ones.</summary>
    public IReadOnlyList<string> ExpertsFrom { get; init; } = [];

    /// <summary>The data.</summary>
    public required DataOptions Data { get; init; }

    /// <summary>The loop.</summary>
    public required TrainingOptions Training { get; init; }

    /// <summary>What is measured afterwards.</summary>
    public required EvaluationOptions Evaluation { get; init; }

    /// <summary>Where the result goes unless the command line says otherwise.</summary>
    public required string OutputDir { get; init; }

    /// <summary>The recipe with every default filled.</summary>
    public required ConfigMap Resolved { get; init; }

    /// <summary>Name of the recipe: its file's name without the ending; of <c>recipe.yaml</c> its folder's.</summary>
    public string Name => NameOf(Path);

    /// <summary>One sentence for each key that is given another value than its default and does nothing beside
    /// others.</summary>
    public IReadOnlyList<string> Ineffective() =>
    [
        .. (AdapterOptions?.Ineffective() ?? []).Select(key => $"adapter.{key.Key} has no effect with {key.Beside}"),
        .. (AdapterFrom is not null || ExpertsFrom.Count > 0) && AdapterOptions?.InitLoraWeights == "gaussian"
            ? (string[])["adapter.init_lora_weights has no effect with "
                + (AdapterFrom is null ? "adapter.experts.from" : "adapter.from")]
            : [],
        .. Data.Ineffective().Select(key => $"data.{key.Key} has no effect with {key.Beside}"),
        .. Training.Ineffective().Select(key => $"training.{key.Key} has no effect with {key.Beside}"),
        .. Training.EvalSteps > 0 && Data.Eval.Count == 0
            ? (string[])["training.eval_steps has no effect without data.eval"]
            : [],
    ];

    /// <summary>Reads a recipe file with the overrides of the command line.</summary>
    /// <exception cref="FaultsException">Anything in it is wrong; all faults are named.</exception>
    public static Recipe Load(string path, IEnumerable<string> overrides)
    {
        var faults = new Faults();
        var recipe = Read(WithoutKeysOfOtherKinds(RecipeLoader.Load(path, overrides), overrides, faults), path, faults);
        // With a recipe that is right by itself, the recipe is not to blame.
        faults.ThrowIfAny(faults.Items.All(fault => fault.Place.StartsWith("--set ", StringComparison.Ordinal))
            ? "the command line" : path);
        return recipe;
    }

    /// <summary>What <see cref="Identity"/> was when an earlier version wrote it, with the keys that came since at
    /// their defaults; null where this version does not read it.</summary>
    public static string? IdentityOf(string earlier)
    {
        var faults = new Faults();
        try
        {
            var recipe = Read(YamlReader.Parse(earlier, "checkpoint"), "checkpoint", faults);
            return faults.Items.Count == 0 ? recipe.Identity() : null;
        }
        catch (UserException)
        {
            return null;
        }
    }

    private static Recipe Read(ConfigMap tree, string path, Faults faults)
    {
        var reader = new OptionReader(tree, "", faults);
        var method = reader.Choice("method", Adapter, [Adapter, Full]);
        var data = DataOptions.Read(reader.Section("data"));
        if (method == Full && reader.Has("adapter"))
            reader.Fault("adapter", "given with method: full", "no adapter section",
                "remove it, or write method: adapter");
        var paths = new RecipePaths(path, reader.Texts(RecipePaths.Key, []));
        var training = TrainingOptions.Read(reader.Section("training"));
        var (from, experts) = method == Full ? (null, []) : Origins(reader.Section("adapter"), training);
        var recipe = new Recipe
        {
            Path = path,
            Paths = paths,
            Method = method,
            Model = ModelOptions.Read(reader.Section("model"), method),
            AdapterOptions = method == Full ? null : AdapterOptions.Read(reader.Section("adapter")),
            AdapterFrom = from,
            ExpertsFrom = experts,
            Data = data,
            Training = training,
            Evaluation = EvaluationOptions.Read(reader.Section("evaluation"), EvalTasks(data)),
            OutputDir = paths.OutputOf(reader.Text(OutputKey, $"adapters/{NameOf(path)}")),
            Resolved = ConfigMap.Empty(path),
        };
        reader.Finish("all keys are in docs/keys.md");
        var found = recipe.Paths.BaseDirectories.Select(folder => ConfigScalar.Of(folder, path));
        var resolved = reader.Resolved().With(RecipePaths.Key, new ConfigList(path, 0, found));
        // A bundle holds it in another folder.
        return recipe with { Resolved = resolved.With(OutputKey, ConfigScalar.Of(recipe.OutputDir, path)) };
    }

    // What RoMA and SAME go on from is the whole of one bundle, also where experts.from names it.
    private static (string? Adapter, IReadOnlyList<string> Experts) Origins(
        OptionReader adapter, TrainingOptions training)
    {
        var from = adapter.OptionalText("from");
        var experts = adapter.Section("experts").Texts("from", []);
        if (from is not null && experts.Count > 0)
            adapter.Fault(
                "from", "given with adapter.experts.from", "one of them",
                "this one goes on with a whole adapter, that one with experts behind a new router");
        var goesOn = training.Continual.IsOn || training.Manifold.Coefficient > 0;
        return goesOn && from is null && experts is [var bundle] ? (bundle, []) : (from, experts);
    }

    /// <summary>The resolved recipe less what may change between a run and its continuation, as text.</summary>
    public string Identity()
    {
        var training = (ConfigMap)Resolved["training"]!;
        foreach (var key in FreeKeys)
            training = training.Without(key);
        return ConfigText.ToYaml(
            Resolved.Without(OutputKey).Without(RecipePaths.Key).Without("evaluation").With("training", training));
    }

    /// <summary>What <see cref="Identity"/> leaves out, as text: what says nothing of the numbers, and yet when ranks
    /// log, save and evaluate.</summary>
    public string Rest()
    {
        var training = (ConfigMap)Resolved["training"]!;
        var rest = FreeKeys.Aggregate(
            ConfigMap.Empty(Path), (map, key) => training[key] is { } value ? map.With(key, value) : map);
        return ConfigText.ToYaml(Resolved["evaluation"] is { } evaluation ? rest.With("evaluation", evaluation) : rest);
    }

    private static string NameOf(string path)
    {
        var name = System.IO.Path.GetFileNameWithoutExtension(path);
        var folder = System.IO.Path.GetFileName(
            System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path)));
        return name == "recipe" && folder is { Length: > 0 } ? folder : name;
    }

    // What --set makes of a section's kind leaves the keys of the kind before it, which would be told one by one.
    private static ConfigMap WithoutKeysOfOtherKinds(ConfigMap tree, IEnumerable<string> overrides, Faults faults)
    {
        foreach (
            var setting in overrides.Where(
            setting => setting.Split('=')[0].EndsWith(".kind", StringComparison.Ordinal)))
        {
            string[] names = [.. setting.Split('=')[0].Split('.').SkipLast(1)];
            var reader = new OptionReader(tree, "", new Faults());
            if (names[0] != "adapter")
                continue;
            AdapterOptions.Read(reader.Section("adapter"));
            var section = names.Aggregate(reader, (inner, name) => inner.Section(name));
            if (section.UnknownKeys() is not { Count: > 0 } unknown)
                continue;
            var value = setting[(setting.IndexOf('=', StringComparison.Ordinal) + 1)..];
            faults.Add(
                $"--set {setting}", $"leaves {Words.AllOf([.. unknown])} of the kind before it", null,
                $"replace the whole section: --set {string.Join('.', names)}='{{kind: {value}}}'");
            tree = Without(tree, names, unknown);
        }
        return tree;
    }

    private static ConfigMap Without(ConfigMap map, ReadOnlySpan<string> names, IReadOnlyList<string> keys) =>
        names.Length == 0
        ? keys.Aggregate(map, (left, key) => left.Without(key))
        : map.With(names[0], Without((ConfigMap)map[names[0]]!, names[1..], keys));

    // With a task column only the rows tell.
    private static List<string>? EvalTasks(DataOptions data) => data.Eval.Any(set => set.TaskColumn is not null)
        ? null
        : [.. data.Eval.Select(set => set.Task ?? set.Name)];
}

/// <summary>The <c>model:</c> section of a recipe: which base model, and how it is held.</summary>
public sealed record ModelOptions
{
    /// <summary>The types a model can be held in.</summary>
    public static IReadOnlyList<string> Dtypes { get; } = ["auto", "float32", "bfloat16", "float16", "float64"];

    /// <summary>Directory of the base model in Hugging Face layout.</summary>
    [Key]
    public string? ModelNameOrPath { get; init; }

    /// <summary>
    /// For <c>method: full</c> from nothing: directory that holds the config.json of a model to be made.
    /// </summary>
    [Key]
    public string? FromConfig { get; init; }

    /// <summary>Directory of the tokenizer; the model's own when absent.</summary>
    [Key]
    public string? Tokenizer { get; init; }

    /// <summary>Type of the base weights.</summary>
    /// <value>Default auto: the file's type where this machine computes it fast, else float32.</value>
    [Key(Choices = ["auto", "float32", "bfloat16", "float16", "float64"])]
    public string Dtype { get; init; } = "auto";

    /// <summary>For <c>method: full</c>: type the trained model is saved in.</summary>
    /// <value>Default bfloat16.</value>
    [Key(Choices = ["float32", "bfloat16", "float16", "float64"])]
    public string SaveDtype { get; init; } = "bfloat16";

    /// <summary>Directory of the model, or of the config that one is made from.</summary>
    public string Directory => ModelNameOrPath ?? FromConfig!;

    /// <summary>Where the tokenizer is.</summary>
    public string TokenizerDirectory => Tokenizer ?? Directory;

    /// <summary>What to do about a directory that is not there.</summary>
    internal static string AdviceFor(string path, IReadOnlyList<string> folders)
    {
        var isOfHub = path.Count(c => c == '/') == 1 && path[0] is not ('.' or '/' or '~');
        var advice = MissingPath.Advice(path, folders);
        if (advice.StartsWith("did you mean", StringComparison.Ordinal))
            return advice;
        if (path == EmbeddedBase)
            return BuiltBase is { } own ? $"{advice}. Did you mean {own}?"
                : $"{advice}. It is in a checkout of this program: give its full path";
        return isOfHub
            ? $"{advice}. Nothing is downloaded here: fetch a model of the Hub with hf download {path} --local-dir DIR"
            : advice;
    }

    /// <summary>The base model that a checkout of this program holds, from its root.</summary>
    public const string EmbeddedBase = "data/base";

    /// <summary>The full path of that of the checkout that the program was built in; null where it is not
    /// there.</summary>
    public static string? BuiltBase =>
        new RecipePaths(System.IO.Path.Combine(AppContext.BaseDirectory, "peft")).Folders
            .Select(folder => System.IO.Path.Combine(folder, EmbeddedBase)).FirstOrDefault(System.IO.Directory.Exists);

    /// <summary>Reads and checks the section.</summary>
    public static ModelOptions Read(OptionReader reader, string method)
    {
        var isFull = method == Recipe.Full;
        string[] others = isFull ? [] : ["from_config", "save_dtype"];
        var options = reader.Bind(new ModelOptions { Dtype = isFull ? "float32" : "auto" }, others);
        foreach (var key in others.Where(reader.Has))
            reader.Fault(key, "no effect with method: adapter", null, "remove it, or write method: full");
        if (options is { ModelNameOrPath: null, FromConfig: null })
            reader.Fault("model_name_or_path", "missing",
                "the directory of a model in Hugging Face layout, such as data/base");
        if (options is { ModelNameOrPath: not null, FromConfig: not null })
            reader.Fault("from_config", "given together with model_name_or_path", "one of the two");
        return options;
    }
}
