using System.Globalization;
using Peft.Data.Examples;

namespace Peft.Compare;

/// <summary>One arm of a setting, trained with one seed.</summary>
/// <param name="Study">Name of its study.</param>
/// <param name="Setting">Its setting.</param>
/// <param name="Arm">Its arm.</param>
/// <param name="Rank">Its rank.</param>
/// <param name="Seed">Its seed; that of choices is none of the others.</param>
/// <param name="Rate">Its learning rate.</param>
/// <param name="IsChoice">Whether it is measured on validation rows, to choose the rate, and on no test row.</param>
internal sealed record TrainRun(
    string Study, Setting Setting, Arm Arm, RankChoice Rank, int Seed, double Rate, bool IsChoice) : IRun
{
    private const int ValidationRows = 300;
    private const int LeastSteps = 40; // of which the first are not timed

    /// <inheritdoc/>
    public string Name => string.Create(CultureInfo.InvariantCulture,
        $"{Study}, {Setting.Name}, {Arm.Name}, {(IsChoice ? $"rate {Rate}" : $"seed {Seed}")}");

    /// <inheritdoc/>
    public string Folder => Path.Combine(
        Arm.IsInSeveralStudies ? "all" : Study, Setting.Name, string.Create(CultureInfo.InvariantCulture,
            $"{Arm.Name.Replace(", ", "-").Replace(' ', '-')}-{(IsChoice ? $"rate-{Rate}" : Seed)}"));

    /// <inheritdoc/>
    public IEnumerable<string> Files =>
        [Setting.Recipe, .. Arm.Stages.Select(stage => stage.Recipe ?? Setting.Recipe), .. Setting.Files];

    /// <inheritdoc/>
    public IEnumerable<IReadOnlyList<string>> Commands(string folder, int rows, double share)
    {
        var names = Setting.TaskNames;
        var tasks = Setting.Loaded.Evaluation.Tasks.Select(task =>
            $"{{task: {task.Name}, metric: {task.Metric}, rows: {rows}, max_new_tokens: {task.MaxNewTokens}}}");
        var sets = Setting.Loaded.Data.Train.Select(set => HeldOut(set, rows));
        var steps = Math.Max(LeastSteps, (int)Math.Round(Setting.Steps * share));
        foreach (var (number, stage) in Arm.Stages.Index())
        {
            var last = number == Arm.Stages.Count - 1;
            // Of several stages the first has three quarters of the steps.
            var part = Arm.Stages.Count == 1 ? steps : last ? steps / 4 : steps - steps / 4;
            string[] keys =
            [
                .. stage.SetsIn(Setting), .. Rank.Overrides,
                $"data.only=[{string.Join(", ", names)}]", $"data.eval=[{string.Join(", ", last ? sets : [])}]",
                $"evaluation.tasks=[{string.Join(", ", IsChoice || !last ? [] : tasks)}]",
                "evaluation.base=false", "evaluation.baselines=[]", $"training.seed={Seed}",
                $"training.max_steps={part}", "training.logging_steps=50", "training.save_steps=0",
                "training.report_to=none",
                number == 0 ? string.Create(CultureInfo.InvariantCulture, $"training.learning_rate={Rate}")
                    : $"adapter.experts.from={Stage(folder, number - 1)}",
            ];
            yield return
            [
                "train", stage.Recipe ?? Setting.Recipe, "--json", "--overwrite", "--output", Stage(folder, number),
                .. keys.SelectMany(key => new[] { "--set", key }),
            ];
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<Measured> Read(string folder, double megabytes) =>
    [
        Measured.Read(this, megabytes, Stage(folder, 0), Stage(folder, Arm.Stages.Count - 1)),
    ];

    private static string Stage(string folder, int number) => Path.Combine(folder, $"stage-{number + 1}");

    private string HeldOut(DataSetOptions set, int rows)
    {
        var file = set.Files.Single().Replace(
            "train.parquet", IsChoice ? "validation.parquet" : "test.parquet", StringComparison.Ordinal);
        var filter = set.Filter is { } condition ? $"filter: \"{condition.Text}\", " : "";
        return $"{{name: {set.Name}, files: {file}, {filter}limit: {(IsChoice ? ValidationRows : rows)}}}";
    }
}

/// <summary>The adapters of one merge setting with one seed.</summary>
/// <param name="Setting">The setting.</param>
/// <param name="Seed">The seed.</param>
/// <param name="Rate">The learning rate of its adapters.</param>
internal sealed record MergeRun(MergeSetting Setting, int Seed, double Rate) : IRun
{
    /// <inheritdoc/>
    public string Name => $"merges, {Setting.Name}, seed {Seed}";

    /// <inheritdoc/>
    public string Folder => Path.Combine("merges", Setting.Name, $"{Seed}");

    /// <inheritdoc/>
    public IEnumerable<string> Files => [Setting.Recipe, .. Setting.Setting.Files];

    /// <inheritdoc/>
    public IEnumerable<IReadOnlyList<string>> Commands(string folder, int rows, double share) =>
        Setting.Commands(folder, Seed, Rate, rows, (int)(Setting.Steps * share));

    /// <inheritdoc/>
    public IReadOnlyList<Measured> Read(string folder, double megabytes) => [.. Setting.Read(folder, Seed, Rate)];
}
