using Peft.Models;
using Peft.Recipes;

namespace Peft.Compare;

/// <summary>One training of an arm; each after the first takes the experts of the one before.</summary>
/// <param name="Recipe">The recipe; null: that of the setting.</param>
/// <param name="Sets">Keys that differ from it.</param>
internal sealed record Stage(string? Recipe, params IReadOnlyList<string> Sets)
{
    /// <summary>The keys, with the names and number of a setting's tasks where they stand for them.</summary>
    public IEnumerable<string> SetsIn(Setting setting) => Sets.Select(set => set
        .Replace("{tasks}", string.Join(", ", setting.TaskNames), StringComparison.Ordinal)
        .Replace("{count}", $"{setting.TaskNames.Count}", StringComparison.Ordinal));
}

/// <summary>What is compared with others in a setting.</summary>
/// <param name="Name">Name in tables.</param>
/// <param name="Difference">How it differs from the setting of its paper, beside base, data and rank.</param>
/// <param name="Stages">Its trainings.</param>
internal sealed record Arm(string Name, string Difference, params IReadOnlyList<Stage> Stages)
{
    /// <summary>The arm whose choice of a learning rate holds for it too; null: its own.</summary>
    public string? RateOf { get; init; }

    /// <summary>
    /// Whether alpha stays as it is when the rank is solved for; else it keeps its share of the rank.
    /// </summary>
    public bool KeepsAlpha { get; init; }

    /// <summary>The settings that it is trained in; null: all.</summary>
    public IReadOnlyList<string>? OnlyIn { get; init; }

    /// <summary>Whether other studies have the same arm in the same setting, so that it is trained once for
    /// all.</summary>
    public bool IsInSeveralStudies { get; init; }
}

/// <summary>What all arms of a comparison share: tasks, trainable parameters, length.</summary>
/// <param name="Name">Name in tables and files.</param>
/// <param name="Words">What is special about it.</param>
/// <param name="Recipe">Recipe with the data, for arms without one of their own.</param>
/// <param name="Parameters">Trained values of every arm.</param>
/// <param name="Steps">Steps of training, over all stages.</param>
/// <param name="Rates">
/// Learning rates among which the validation rows choose; where the best is at an end, others beyond it are tried.
/// </param>
/// <param name="RatesOf">The setting whose choice of learning rates holds here too; null: its own.</param>
internal sealed record Setting(
    string Name, string Words, string Recipe, long Parameters, int Steps, IReadOnlyList<double> Rates,
    string? RatesOf = null)
{
    private readonly Lazy<Recipe> _loaded = new(() => Peft.Recipes.Recipe.Load(Recipe, []));

    /// <summary>Names of its tasks, in the order of the recipe.</summary>
    public IReadOnlyList<string> TaskNames => [.. Loaded.Evaluation.Tasks.Select(task => task.Name)];

    /// <summary>The files that it trains on.</summary>
    public IReadOnlyList<string> Files => [.. Loaded.Data.Train.SelectMany(set => set.Files).Distinct()];

    /// <summary>The recipe, read once.</summary>
    public Recipe Loaded => _loaded.Value;
}

/// <summary>Arms in settings.</summary>
/// <param name="Name">Name in commands and files.</param>
/// <param name="Question">What it answers.</param>
/// <param name="Settings">What is varied.</param>
/// <param name="Arms">What is compared.</param>
internal sealed record Study(
    string Name, string Question, IReadOnlyList<Setting> Settings, IReadOnlyList<Arm> Arms)
{
    /// <summary>The arm that others are compared with.</summary>
    public string Reference { get; init; } = Plan.Reference;

    /// <summary>Whether it is made where no study is named.</summary>
    public bool IsUsual { get; init; }

    /// <summary>The settings of a study that merges; none: it trains each arm.</summary>
    public IReadOnlyList<MergeSetting> Merges { get; init; } = [];

    /// <summary>Runs without the rows that something was chosen on.</summary>
    public IReadOnlyList<Measured> Judged(IReadOnlyList<Measured> runs) =>
        [.. runs.Select(run => Merges.SingleOrDefault(merge => merge.Name == run.Setting) is { RowsOfChoice: > 0 } merge
            ? run with { Tasks = new(run.Tasks.ToDictionary(
                task => task.Key, task => task.Value.Behind(merge.RowsOfChoice)), StringComparer.Ordinal) } : run)];

    /// <summary>The arms of a setting.</summary>
    public IEnumerable<Arm> ArmsIn(Setting setting) =>
        Arms.Where(arm => arm.OnlyIn is not { } only || only.Contains(setting.Name));
}

/// <summary>Everything that <c>make compare</c> trains.</summary>
internal static class Plan
{
    /// <summary>The plain adapter that mixtures are compared with.</summary>
    public const string Reference = "lora";

    private static readonly Lazy<string> Fingerprint = new(() => ModelLoader.Fingerprint("data/base"));

    private const string Four = "recipes/base/tasks.yaml";
    private const long Usual = 1_320_000; // four experts of rank 8

    private static readonly double[] UsualRates = [1e-3, 2e-3, 4e-3];

    /// <summary>Fingerprint of the embedded base, which all studies train on.</summary>
    public static string BaseFingerprint => Fingerprint.Value;

    /// <summary>Four tasks, as many parameters as four experts of rank 8 have.</summary>
    public static readonly Setting FourTasks = new("four", "four tasks", Four, Usual, 400,
        UsualRates);

    /// <summary>The studies, by name.</summary>
    public static IReadOnlyList<Study> Studies { get; } =
    [
        new("methods", "Which method, at equally many trainable parameters?", [FourTasks],
        [
            PlainLora,
            new("lora-plus", "a ratio of 16, which the paper suggests; the rate is that of A",
                new Stage("recipes/small/lora-plus.yaml")),
            new("top-k", "no paper's: four experts, top-2, Switch's balance loss",
                new Stage("recipes/small/top-k.yaml")),
            new("mola", "2-4-6-8 experts over 8 layers, not over 32; no load balance loss",
                new Stage("recipes/small/mola.yaml")),
            new("lora-mixer", "a quarter of the steps train the routers; four tasks, four experts; top-3",
                new("recipes/lora-mixer-stage1.yaml"), new("recipes/lora-mixer-stage2.yaml")),
            new("dynmole", "linear schedule with warm-up, as for all, not a constant rate",
                new Stage("recipes/small/dynmole.yaml")),
            new("dynmole, no entropy loss", "as dynmole, entropy_coefficient 0",
                new Stage("recipes/small/dynmole.yaml", "adapter.router.entropy_coefficient=0"))
            {
                RateOf = "dynmole",
            },
            new("remix", "the paper gives no rate and no number of epochs; four passes a step",
                new Stage("recipes/small/remix.yaml")),
            new("flylora", "a frozen A is not counted as trained, so its rank is larger",
                new Stage("recipes/small/flylora.yaml")),
            new("ld-mole", "the loss coefficients are ours", new Stage("recipes/small/ld-mole.yaml")),
            new("dynamic-moe", "LoRA experts; the paper's are whole feed-forward layers trained from scratch",
                new Stage("recipes/small/dynamic-moe.yaml")),
            new("loramoe", "two of the four tasks count as knowledge", new Stage("recipes/small/loramoe.yaml")),
        ])
        {
            IsUsual = true,
        },
        new("systems", "Which of the other routing systems, at equally many trainable parameters?", [FourTasks],
        [
            PlainLora,
            new("rmoe", "LoRA experts; the paper's are whole feed-forward layers",
                new Stage("recipes/small/rmoe.yaml")),
            new("blockffn", "LoRA experts; the paper's are whole feed-forward layers",
                new Stage("recipes/small/blockffn.yaml")),
            new("chain-of-experts", "LoRA experts of the queries and the attention's output; the paper's are whole "
                + "feed-forward layers", new Stage("recipes/small/chain-of-experts.yaml")),
            new("graph-of-tokens", "the form is our reading; the attention only",
                new Stage("recipes/small/graph-of-tokens.yaml")),
            new("graph-of-tokens, attention", "as graph-of-tokens, by the weights of the attention",
                new Stage("recipes/small/graph-of-tokens-attention.yaml")),
            new("smora", "the ranks that work keep their share of the rank", new Stage("recipes/small/smora.yaml")),
            new("comol", "none", new Stage("recipes/small/comol.yaml")),
            new("hydralora", "the feed-forward only", new Stage("recipes/small/hydralora.yaml")),
            new("lily", "weights by token; the paper's are the batch's mean", new Stage("recipes/small/lily.yaml")),
            new("rexmoe", "LoRA experts; the pool grows from a sixth of the steps to their half",
                new Stage("recipes/small/rexmoe.yaml", "adapter.router.start_step=67", "adapter.router.end_step=200")),
            new("mixlora", "none", new Stage("recipes/small/mixlora.yaml")),
            new("mixlora-dynamic", "as mixlora, top-p", new Stage("recipes/small/mixlora-dynamic.yaml"))
            {
                RateOf = "mixlora",
            },
            new("mixlora-switch", "as mixlora, top-1", new Stage("recipes/small/mixlora-switch.yaml"))
            {
                RateOf = "mixlora",
            },
            new("ffn-split", "our reading: LoRA on four slices of each feed-forward, of which all work",
                new Stage("recipes/small/ffn-split.yaml")),
            new("factorllm", "LoRA of the whole makes up for the half of each feed-forward that is left out",
                new Stage("recipes/small/factorllm.yaml")),
            new("polytropon", "the task is told, also while measuring", new Stage("recipes/small/polytropon.yaml")),
            new("mhr", "the task is told, also while measuring", new Stage("recipes/small/mhr.yaml"))
            {
                RateOf = "polytropon",
            },
            new("mhr-z", "a quarter of the steps trains the tasks' weights alone",
                new("recipes/small/mhr.yaml"), new("recipes/small/mhr-z.yaml")) { RateOf = "polytropon" },
            new("mhr-mu", "a quarter of the steps trains the mean of the skills, for all four tasks",
                new("recipes/small/mhr.yaml"), new("recipes/small/mhr-mu.yaml")) { RateOf = "polytropon" },
            new("post-moe", "an expert a task, where the paper has one for a family of languages",
                new Stage("recipes/small/post-moe.yaml")),
            new("x-lora", "a quarter of the steps trains its classifier over experts of one task each",
                new Stage(Four, "adapter={method: mixture, r: 8, lora_alpha: 32, target_modules: all-linear, "
                    + "experts: {names: [{tasks}]}, router: {kind: hard-soft, stage: hard}}"),
                new Stage(Four, "adapter={method: mixture, r: 8, lora_alpha: 32, target_modules: all-linear, "
                    + "experts: {names: [{tasks}], train: false}, router: {kind: x-lora, xlora_depth: 1, "
                    + "layerwise_scalings: false, softmax_temperature: 1}}", "training.learning_rate=1e-2")),
        ])
        {
            IsUsual = true,
        },
        new("variants", "Which variant of LoRA or of balance, at equally many trainable parameters?", [FourTasks],
        [
            PlainLora,
            new("dora", "none", new Stage("recipes/small/dora.yaml")),
            new("pissa", "none", new Stage("recipes/small/pissa.yaml")),
            new("olora", "none", new Stage("recipes/small/olora.yaml")),
            new("goat", "none", new Stage("recipes/small/goat.yaml")),
            new("shared-experts", "no paper's: top-2 of four experts, and one that is always on",
                new Stage("recipes/small/shared-experts.yaml")),
            Balanced("bip"), Balanced("quantile"), Balanced("sinkhorn"),
        ]),
        new("question", "When does a mixture beat one LoRA of as many trainable parameters?",
        [
            FourTasks,
            new("eight", "eight tasks", "recipes/base/tasks-8.yaml", Usual, 400, UsualRates, FourTasks.Name),
            new("twelve", "twelve tasks", "recipes/base/tasks-12.yaml", Usual, 400, UsualRates, FourTasks.Name),
            new("conflict", "seven tasks on three kinds of inputs, nothing in the prompt tells them apart",
                "recipes/base/conflict.yaml", Usual, 400, UsualRates, FourTasks.Name),
            new("named", "the same seven tasks, the prompt names the task", "recipes/base/conflict-named.yaml",
                Usual, 400, UsualRates, FourTasks.Name),
            new("small", "a third of the trainable parameters", Four, Usual / 3, 400, [2e-3, 4e-3, 8e-3]),
            new("large", "four times the trainable parameters", Four, Usual * 4, 400, [5e-4, 1e-3, 2e-3]),
            new("long", "three times as many steps", Four, Usual, 1200, UsualRates, FourTasks.Name),
        ],
        [
            new(Reference, "", new Stage(null, "adapter={method: lora, r: 34, lora_alpha: 68, "
                + "target_modules: all-linear}")),
            new("mixture", "", new Stage(null, "adapter={method: mixture, r: 8, lora_alpha: 32, "
                + "target_modules: all-linear, experts: {count: 4}, router: {kind: top-k, top_k: 2, "
                + "balance: {kind: switch, coefficient: 0.01}}}")),
            new("one expert a task", "the task is told, also while measuring", new Stage(null,
                "adapter={method: mixture, r: 8, lora_alpha: 32, target_modules: all-linear, "
                + "experts: {names: [{tasks}]}, "
                + "router: {kind: hard-soft, stage: hard}}")),
            new("one expert a task, then a router",
                "a quarter of the steps train routers over the frozen experts; no task is told",
                new Stage(null, "adapter={method: mixture, r: 8, lora_alpha: 32, target_modules: all-linear, "
                    + "experts: {names: [{tasks}]}, router: {kind: hard-soft, stage: hard}}"),
                new Stage(null, "adapter={method: mixture, r: 8, lora_alpha: 32, target_modules: all-linear, "
                    + "experts: {names: [{tasks}], train: false}, router: {kind: hard-soft, stage: soft, top_k: 2}}",
                    "training.learning_rate=1e-2"))
            {
                RateOf = "one expert a task",
                OnlyIn = [FourTasks.Name, "twelve", "named"],
            },
            new("mixture, shared expert", "", new Stage(null, "adapter={method: mixture, r: 8, lora_alpha: 32, "
                + "target_modules: all-linear, experts: {count: 4, shared: 1}, router: {kind: top-k, top_k: 2, "
                + "balance: {kind: switch, coefficient: 0.01}}}"))
            {
                OnlyIn = [FourTasks.Name, "twelve", "conflict"],
            },
        ]),
        new("rank", "Does the scale of rsLoRA help at high rank?",
        [
            new("high", "LoRA of rank 136, alpha 16", Four, Usual * 4, 400, [1e-3, 2e-3, 4e-3, 8e-3]),
        ],
        [
            new(Reference, "", new Stage(null, "adapter={method: lora, r: 136, lora_alpha: 16, "
                + "target_modules: all-linear}")) { KeepsAlpha = true },
            new("rslora", "", new Stage(null, "adapter={method: lora, r: 136, lora_alpha: 16, use_rslora: true, "
                + "target_modules: all-linear}")) { KeepsAlpha = true },
        ]),
        new("merges", "Which merge keeps most of adapters that were trained apart?",
            [.. MergeSetting.All.Select(merge => merge.Setting)],
            [.. MergeSetting.All.SelectMany(merge => merge.Arms()).DistinctBy(arm => arm.Name)])
        {
            Reference = "average",
            Merges = MergeSetting.All,
        },
    ];

    private static Arm PlainLora => new(Reference, "none", new Stage("recipes/small/lora.yaml"))
    {
        IsInSeveralStudies = true,
    };

    private static Arm Balanced(string balance) => new(balance, "top-2 of eight LoRA experts",
        new Stage($"recipes/small/{balance}.yaml"))
    {
        RateOf = balance == "bip" ? null : "bip",
    };
}
