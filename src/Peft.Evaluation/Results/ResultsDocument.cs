using System.Text.Json;
using System.Text.Json.Serialization;
using Peft.Evaluation.Metrics;
using Peft.Formats;

namespace Peft.Evaluation.Results;

/// <summary>
/// What an evaluation measured: the content of <c>results.json</c> (schema in README.md beside this file).
/// </summary>
/// <param name="Created">When it was measured, ISO 8601 in UTC.</param>
/// <param name="PeftVersion">Version of the program that measured.</param>
/// <param name="Settings">What the numbers depend on beside models and rows.</param>
/// <param name="Base">The base model that all subjects share.</param>
/// <param name="Subjects">What was measured, in the order of the table; the base model first where it is among
/// them.</param>
/// <param name="Tasks">What it was measured on.</param>
/// <param name="Scores">One number a subject, task and metric.</param>
/// <param name="Comparisons">Paired differences between subjects on the same rows.</param>
/// <param name="Routing">What the experts do, a subject with routing.</param>
public sealed record ResultsDocument(
    string Created, string PeftVersion, ResultsSettings Settings, MeasuredBase Base, IReadOnlyList<Subject> Subjects,
    IReadOnlyList<MeasuredTask> Tasks, IReadOnlyList<Score> Scores, IReadOnlyList<Comparison> Comparisons,
    IReadOnlyList<SubjectRouting> Routing)
{
    /// <summary>The value of <c>format</c>.</summary>
    public const string FormatName = "peft.results";

    /// <summary>The value of <c>version</c> that this program writes and reads.</summary>
    public const int CurrentVersion = 1;

    /// <summary>Format and version as they stand in the file.</summary>
    public string Format { get; init; } = FormatName;

    /// <summary>Version of the schema.</summary>
    public int Version { get; init; } = CurrentVersion;

    /// <summary>Adapters that are one after each data set of a sequence.</summary>
    public IReadOnlyList<MeasuredSequence> Sequences { get; init; } = [];

    /// <summary>The score of a subject on a task's metric, or null where it was not measured.</summary>
    public Score? ScoreOf(string subject, string task, string metric) =>
        Scores.FirstOrDefault(s => s.Subject == subject && s.Task == task && s.Metric == metric);

    /// <summary>
    /// The comparison of two subjects, the way round that was asked for, or null where they were not compared.
    /// </summary>
    public Comparison? ComparisonOf(string task, string metric, string a, string b)
    {
        var found = Comparisons.FirstOrDefault(
            c => c.Task == task && c.Metric == metric && (c.A == a && c.B == b || c.A == b && c.B == a));
        return found is null || found.A == a ? found : found.Reversed();
    }

    /// <summary>These results with the recorded ones of another adapter beside them, behind the base.</summary>
    /// <param name="name">What the recorded model is called here.</param>
    /// <param name="path">Where its results lie.</param>
    /// <param name="recorded">Its results.</param>
    /// <param name="say">Told what cannot be shown beside these, and why.</param>
    /// <exception cref="UserException">The recorded results are not those of one adapter.</exception>
    public ResultsDocument WithRecorded(string name, string path, ResultsDocument recorded, Action<string> say)
    {
        var models = recorded.Subjects.Where(subject => subject.Kind == Subject.AdapterKind).ToList();
        if (models is not [var model])
            throw UserException.At(
                path, $"results of {Words.Count(models.Count, "adapter")}", "recorded results of one adapter");
        if (IsOther(recorded.Base.Fingerprint, Base.Fingerprint))
        {
            say($"{name} ({path}) is left out: it was measured on another base, {recorded.Base.Name}");
            return this;
        }
        if (Subjects.Any(subject => subject.Name == name))
            name += " (recorded)";
        var (scores, others) = (new List<Score>(), new List<string>());
        foreach (var task in Tasks)
        {
            if (recorded.Tasks.FirstOrDefault(other => other.Name == task.Name) is not { } other)
                continue;
            if (IsOther(other.RowsHash, task.RowsHash) || other.Rows != task.Rows)
                others.Add(task.Name);
            else
                scores.AddRange(task.Metrics
                    .Select(metric => recorded.ScoreOf(model.Name, task.Name, metric.Name)).OfType<Score>()
                    .Select(score => score with { Subject = name }));
        }
        if (others.Count > 0)
            say($"{name} ({path}) is not shown on {Words.AllOf(others)}: it was measured on other rows");
        if (scores.Count == 0)
            return this;
        var described = model with { Name = name, Kind = Subject.RecordedKind, Path = path, Training = null };
        var bases = Subjects.Count(subject => subject.Kind == Subject.BaseKind);
        return this with
        {
            Subjects = [.. Subjects.Take(bases), described, .. Subjects.Skip(bases)],
            Scores = [.. Scores, .. scores],
        };
    }

    // Results that do not tell cannot be seen to differ.
    private static bool IsOther(string recorded, string own) => recorded.Length > 0 && recorded != own;
}

/// <summary>What the numbers depend on beside models and rows.</summary>
/// <param name="Seed">Seed of few-shot choice, resampling and permutations.</param>
/// <param name="BatchSize">Rows scored together.</param>
/// <param name="Dtype">Type the base computed in.</param>
/// <param name="BootstrapSamples">Resamplings behind each interval.</param>
/// <param name="Confidence">Share of an interval, such as 0.95.</param>
/// <param name="Correction">Correction of p values over all comparisons: <c>holm</c> or <c>none</c>.</param>
public sealed record ResultsSettings(
    long Seed, int BatchSize, string Dtype, int BootstrapSamples, double Confidence, string Correction)
{
    /// <summary>Those of results that do not tell.</summary>
    public static ResultsSettings Unknown { get; } = new(0, 0, "", 0, 0.95, "none");
}

/// <summary>The base model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Fingerprint">Its fingerprint, as in bundle.json.</param>
public sealed record MeasuredBase(string Name, string Fingerprint);

/// <summary>One thing that was measured: the base model, or a bundle on it.</summary>
/// <param name="Name">Name, unlike all others of the file.</param>
/// <param name="Kind"><see cref="BaseKind"/>, <see cref="AdapterKind"/> or <see cref="RecordedKind"/>.</param>
/// <param name="Path">Where it lay when it was measured.</param>
/// <param name="Method">The adapter's method; null for the base.</param>
/// <param name="Router">Kind of its router, where it has one.</param>
/// <param name="Fingerprint">SHA-256 of the bundle; null for the base.</param>
/// <param name="TrainableParameters">Number of trainable parameters.</param>
/// <param name="StepSeconds">Median seconds of a training step, where known.</param>
/// <param name="PeakMemoryBytes">The most memory that the training process held, where known.</param>
/// <param name="EvaluationSeconds">How long measuring took.</param>
/// <param name="Recipe">The resolved recipe as JSON.</param>
/// <param name="Training">Curves of its training.</param>
public sealed record Subject(
    string Name, string Kind, string Path, string? Method, string? Router, string? Fingerprint,
    long TrainableParameters,
    double? StepSeconds, long? PeakMemoryBytes, double EvaluationSeconds, JsonElement? Recipe, TrainingCurves? Training)
{
    /// <summary>The kind of a base model.</summary>
    public const string BaseKind = "base";

    /// <summary>The kind of a bundle on the base.</summary>
    public const string AdapterKind = "adapter";

    /// <summary>The kind of a model whose numbers were recorded earlier: none of its rows are at hand.</summary>
    public const string RecordedKind = "recorded";

    /// <summary>When the bundle was written (ISO 8601, UTC); null where unknown.</summary>
    public string? Written { get; init; }
}

/// <summary>
/// Curves of a training run, thinned to at most some hundred points; lists of one curve have the same length.
/// </summary>
/// <param name="Step">Steps of the following four.</param>
/// <param name="Loss">Loss of the answers, nats a token.</param>
/// <param name="Aux">Sum of the auxiliary losses.</param>
/// <param name="Lr">Learning rate.</param>
/// <param name="TokensPerSecond">Speed.</param>
/// <param name="RoutingStep">Steps of the following.</param>
/// <param name="RoutingEntropy">Mean entropy of the routers' distributions, nats.</param>
public sealed record TrainingCurves(
    IReadOnlyList<long> Step, IReadOnlyList<double> Loss, IReadOnlyList<double> Aux, IReadOnlyList<double> Lr,
    IReadOnlyList<double> TokensPerSecond, IReadOnlyList<long> RoutingStep, IReadOnlyList<double> RoutingEntropy)
{
    /// <summary>Steps at which the held-out rows were measured.</summary>
    public IReadOnlyList<long> EvalStep { get; init; } = [];

    /// <summary>Loss of the held-out answers at those steps, nats a token.</summary>
    public IReadOnlyList<double> EvalLoss { get; init; } = [];

    /// <summary>Steps of the following: those at which routing was logged, from the second on.</summary>
    public IReadOnlyList<long> LoadStep { get; init; } = [];

    /// <summary>How far the experts' loads were from those logged before: total variation, 0 to 1, mean over
    /// projections.</summary>
    public IReadOnlyList<double> LoadChange { get; init; } = [];
}

/// <summary>One task as it was measured.</summary>
/// <param name="Name">Name, unlike all others of the file.</param>
/// <param name="Kind">multiple_choice, generation, classification or perplexity.</param>
/// <param name="Data">Where the rows came from.</param>
/// <param name="Rows">How many.</param>
/// <param name="RowsHash">SHA-256 over prompts and answers: results of other rows are not comparable.</param>
/// <param name="Truncated">Rows cut from the left to fit the context.</param>
/// <param name="Ties">Rows whose best choices had the same score.</param>
/// <param name="Shots">Solved examples before each prompt.</param>
/// <param name="Metrics">What was computed; one is the main one.</param>
public sealed record MeasuredTask(
    string Name, string Kind, string Data, int Rows, string RowsHash, int Truncated, int Ties, int Shots,
    IReadOnlyList<TaskMetric> Metrics)
{
    /// <summary>The main metric: the first that says so, else the first.</summary>
    [JsonIgnore]
    public TaskMetric Main => Metrics.FirstOrDefault(m => m.Main) ?? Metrics[0];
}

/// <summary>A metric of a task.</summary>
/// <param name="Name">Its name.</param>
/// <param name="HigherIsBetter">Whether larger values are better.</param>
/// <param name="Main">Whether the summary speaks of it.</param>
/// <param name="Unit">rate, score, nats, bits, ...</param>
public sealed record TaskMetric(string Name, bool HigherIsBetter, bool Main, string Unit);

/// <summary>One number with its interval.</summary>
/// <param name="Subject">Whose.</param>
/// <param name="Task">On which task.</param>
/// <param name="Metric">By which metric.</param>
/// <param name="Value">The number.</param>
/// <param name="Low">Lower end of the interval; null where none was recorded.</param>
/// <param name="High">Upper end of the interval.</param>
/// <param name="Rows">Rows behind it.</param>
public sealed record Score(
    string Subject, string Task, string Metric, double Value, double? Low, double? High, int Rows);

/// <summary>A paired difference on the same rows, <paramref name="B"/> less <paramref name="A"/>.</summary>
/// <param name="Task">On which task.</param>
/// <param name="Metric">By which metric.</param>
/// <param name="A">Name of the first subject.</param>
/// <param name="B">Name of the second subject.</param>
/// <param name="Difference">Value of b less value of a.</param>
/// <param name="Low">Lower end of its interval.</param>
/// <param name="High">Upper end of its interval.</param>
/// <param name="P">Two-sided p value of no difference.</param>
/// <param name="PAdjusted">The p value corrected for all comparisons made.</param>
/// <param name="Significant">Whether the corrected p value is below one less the confidence.</param>
public sealed record Comparison(
    string Task, string Metric, string A, string B, double Difference, double Low, double High, double P,
    double PAdjusted,
    bool Significant)
{
    /// <summary>The same the other way round.</summary>
    public Comparison Reversed() => this with { A = B, B = A, Difference = -Difference, Low = -High, High = -Low };
}

/// <summary>What the experts of one subject did on the rows of the tasks.</summary>
/// <param name="Subject">Whose experts.</param>
/// <param name="Tasks">Tasks whose rows were counted; the rows of <paramref name="ExpertByTask"/> in this
/// order.</param>
/// <param name="Modules">One entry a routed projection.</param>
/// <param name="ExpertByTask">Which experts the tasks use; null with fewer than two tasks or layers of unlike numbers
/// of experts.</param>
/// <param name="Similarity">Cosine of the experts' updates, [E][E], mean over the modules where both have
/// one; 0 where there is no such module.</param>
/// <param name="Srp">Segment routing best performance.</param>
/// <param name="Sch">Hit rates of a cache of experts.</param>
public sealed record SubjectRouting(
    string Subject, IReadOnlyList<string> Tasks, IReadOnlyList<ModuleRouting> Modules, ExpertByTask? ExpertByTask,
    IReadOnlyList<IReadOnlyList<double>>? Similarity, SegmentRouting? Srp, SegmentCache? Sch)
{
    /// <summary>Further experts that every token gets with weight 1; they stand in none of the numbers here.</summary>
    public int SharedExperts { get; init; }

    /// <summary>How unlike the experts of two tasks are, [tasks][tasks], mean over modules: Jensen-Shannon divergence
    /// of their loads over ln 2, 0 (the same experts) to 1 (none in common); null with fewer than two tasks.</summary>
    public IReadOnlyList<IReadOnlyList<double>>? TaskDistance { get; init; }
}

/// <summary>One routed projection.</summary>
/// <param name="Name">Path of the wrapped projection.</param>
/// <param name="Layer">Its layer.</param>
/// <param name="Projection">Its projection, such as q_proj.</param>
/// <param name="Load">Share of the gate weight an expert, [E]; sums to 1.</param>
/// <param name="MeanProbability">Mean of the router's distribution, [E]; empty where a router has none.</param>
/// <param name="Entropy">Mean entropy of a token's distribution, nats; null where a router has none.</param>
/// <param name="EffectiveSupportSize">Mean effective number of experts a token, weights considered.</param>
/// <param name="ExpertsPerToken">Mean number of open gates.</param>
/// <param name="DeadExperts">Experts that no token used.</param>
public sealed record ModuleRouting(
    string Name, int Layer, string Projection, IReadOnlyList<double> Load, IReadOnlyList<double> MeanProbability,
    double? Entropy,
    double EffectiveSupportSize, double ExpertsPerToken, int DeadExperts)
{
    /// <summary>Normalized mutual information of task and expert, here alone; null with fewer than two tasks.</summary>
    public double? TaskInformation { get; init; }
}

/// <summary>The expert-by-task matrix.</summary>
/// <param name="Matrix">[tasks][E], the share of a task's gate weight that each expert gets; rows sum to 1.</param>
/// <param name="MutualInformation">Between task (all alike) and expert, nats.</param>
/// <param name="NormalizedMutualInformation">The same over the most there can be, 0 to 1.</param>
public sealed record ExpertByTask(
    IReadOnlyList<IReadOnlyList<double>> Matrix, double MutualInformation, double NormalizedMutualInformation);

/// <summary>SRP by length of segment (arXiv:2505.16056).</summary>
/// <param name="Segments">Lengths in tokens.</param>
/// <param name="Values">SRP at each length, 0 to 1.</param>
public sealed record SegmentRouting(IReadOnlyList<int> Segments, IReadOnlyList<double> Values)
{
    /// <summary>At each length, experts that the best fixed set holds over those that a token uses (m*).</summary>
    public IReadOnlyList<double> SizeRatios { get; init; } = [];
}

/// <summary>SCH by length of look-ahead and size of the cache (arXiv:2505.16056).</summary>
/// <param name="Segments">Tokens looked ahead.</param>
/// <param name="CacheSizes">Experts that the cache holds.</param>
/// <param name="Values">[segments][cache sizes], hit rates.</param>
public sealed record SegmentCache(
    IReadOnlyList<int> Segments, IReadOnlyList<int> CacheSizes, IReadOnlyList<IReadOnlyList<double>> Values);
