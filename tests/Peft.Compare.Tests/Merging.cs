using System.Globalization;

namespace Peft.Compare;

/// <summary>Adapters of one task each, trained apart and merged in several ways.</summary>
/// <param name="Name">Name in tables and files.</param>
/// <param name="Words">What is special about it.</param>
/// <param name="Recipe">Recipe with the data of all tasks.</param>
/// <param name="Sets">Keys of the adapters that differ from it.</param>
/// <param name="RateOf">The arm of the study of methods whose learning rate they have.</param>
/// <param name="Steps">Steps of each adapter.</param>
/// <param name="Methods">Ways of merging.</param>
internal sealed record MergeSetting(
    string Name, string Words, string Recipe, IReadOnlyList<string> Sets, string RateOf, int Steps,
    IReadOnlyList<string> Methods)
{
    /// <summary>The adapter of each row's own task: what merging could keep at best.</summary>
    public const string Own = "each task's own adapter";

    /// <summary>The settings.</summary>
    public static IReadOnlyList<MergeSetting> All { get; } =
    [
        new("words", "LoRA; prompts whose words tell the tasks apart (recipes/merge.yaml), rows 101 to 200",
            "recipes/merge.yaml", Lora, "lora", 300, [.. Static, .. Routed]) { RowsOfChoice = 100 },
        new("equal-ends", "LoRA; prompts that end alike (recipes/base/tasks.yaml)", "recipes/base/tasks.yaml", Lora,
            "lora", 300, [.. Static, .. Routed]),
        new("flylora", "FlyLoRA, each with its own projection (the same prompts)",
            "recipes/base/tasks.yaml",
            ["adapter={method: mixture, r: 64, lora_alpha: 128, target_modules: all-linear, router: "
                + "{kind: random-projection, top_k: 16, projection_seed: {seed}}}"], "flylora", 300, ["average"]),
    ];

    /// <summary>The first test rows of each task that prompts were chosen on, which therefore do not count.</summary>
    public int RowsOfChoice { get; init; }

    private static string[] Lora => ["adapter={method: lora, r: 16, lora_alpha: 32, target_modules: all-linear}"];

    private static string[] Static => ["average", "ties"];

    private static string[] Routed => ["arrow", "average-activation", "phatgoose"];

    /// <summary>The setting as findings know it.</summary>
    public Setting Setting { get; } = new(Name, Words, Recipe, 0, Steps, []);

    /// <summary>What is measured, as findings know it.</summary>
    public IEnumerable<Arm> Arms() => ((IEnumerable<string>)[Own, .. Methods]).Select(name => new Arm(name, ""));

    /// <summary>The commands that train, merge and measure, in order.</summary>
    /// <param name="folder">Where everything goes; the results lie in its <c>measured</c>.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="rate">The learning rate.</param>
    /// <param name="rows">Test rows a task.</param>
    /// <param name="steps">Steps of each adapter.</param>
    public IEnumerable<IReadOnlyList<string>> Commands(string folder, int seed, double rate, int rows, int steps)
    {
        var tasks = Setting.TaskNames;
        string Adapter(string task) => Path.Combine(folder, task);
        foreach (var (at, task) in tasks.Index())
        {
            yield return
            [
                "train", Recipe, "--overwrite", "--output", Adapter(task), "--set", $"data.only=[{task}]",
                .. Keys([.. Sets.Select(set => set.Replace("{seed}", $"{100 * seed + at}", StringComparison.Ordinal)),
                    "evaluation.tasks=[]", "data.eval=[]", "training.report_to=none", "training.save_steps=0",
                    $"training.seed={seed}", $"training.max_steps={steps}",
                    string.Create(CultureInfo.InvariantCulture, $"training.learning_rate={rate}")]),
            ];
            // As make merge trains them: steps in proportion to the gradient (src/DECISIONS.md).
            if (Methods.Contains("phatgoose"))
                yield return
                [
                    "gate", "--adapter", Adapter(task), .. Keys(["training.optim=sgd", "training.momentum=0.9",
                        "training.learning_rate=0.5", "training.lr_scheduler_type=constant"]),
                ];
        }
        foreach (var method in Methods)
            yield return
            [
                "merge", "--method", method, .. tasks.Select(Adapter), "--output", Adapter(method), "--overwrite",
            ];
        yield return
        [
            "eval", "--no-base", .. tasks.Concat(Methods).SelectMany(name => new[] { "--adapter", Adapter(name) }),
            "--recipe", Recipe, "--rows", $"{rows}", "--batch-size", "64", "--output", Path.Combine(folder, "measured"),
            "--overwrite",
        ];

        static IEnumerable<string> Keys(IEnumerable<string> keys) => keys.SelectMany(key => new[] { "--set", key });
    }

    /// <summary>What the measured rows tell, an arm each.</summary>
    public IEnumerable<Measured> Read(string folder, int seed, double rate)
    {
        var measured = TaskPoints.Read(Path.Combine(folder, "measured"));
        var own = new SortedDictionary<string, TaskPoints>(
            Setting.TaskNames.ToDictionary(task => task, task => measured[task][task]), StringComparer.Ordinal);
        return Arms().Select(arm => new Measured(
            Name, arm.Name, seed, rate, 0, 0, 0, [], null, arm.Name == Own ? own : measured[arm.Name]));
    }
}
