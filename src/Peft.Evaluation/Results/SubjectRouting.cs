namespace Peft.Evaluation.Results;

/// <summary>What the experts of one subject did on the rows of the tasks.</summary>
/// <param name="Subject">Whose experts.</param>
/// <param name="Tasks">Tasks whose rows were counted; the rows of <paramref name="ExpertByTask"/> in this order.</param>
/// <param name="Modules">One entry a routed projection.</param>
/// <param name="ExpertByTask">Which experts the tasks use; null with fewer than two tasks or layers of unlike numbers of experts.</param>
/// <param name="Similarity">Cosine of the experts' updates, [E][E], mean over modules.</param>
/// <param name="Srp">Segment routing best performance.</param>
/// <param name="Sch">Hit rates of a cache of experts.</param>
public sealed record SubjectRouting(
    string Subject, IReadOnlyList<string> Tasks, IReadOnlyList<ModuleRouting> Modules, ExpertByTask? ExpertByTask,
    IReadOnlyList<IReadOnlyList<double>>? Similarity, SegmentRouting? Srp, SegmentCache? Sch);

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
    string Name, int Layer, string Projection, IReadOnlyList<double> Load, IReadOnlyList<double> MeanProbability, double? Entropy,
    double EffectiveSupportSize, double ExpertsPerToken, int DeadExperts);

/// <summary>The expert-by-task matrix.</summary>
/// <param name="Matrix">[tasks][E], the share of a task's gate weight that each expert gets; rows sum to 1.</param>
/// <param name="MutualInformation">Between task (all alike) and expert, nats.</param>
/// <param name="NormalizedMutualInformation">The same over the most there can be, 0 to 1.</param>
public sealed record ExpertByTask(
    IReadOnlyList<IReadOnlyList<double>> Matrix, double MutualInformation, double NormalizedMutualInformation);

/// <summary>SRP by length of segment (arXiv:2505.16056).</summary>
/// <param name="Segments">Lengths in tokens.</param>
/// <param name="Values">SRP at each length, 0 to 1.</param>
public sealed record SegmentRouting(IReadOnlyList<int> Segments, IReadOnlyList<double> Values);

/// <summary>SCH by length of look-ahead and size of the cache (arXiv:2505.16056).</summary>
/// <param name="Segments">Tokens looked ahead.</param>
/// <param name="CacheSizes">Experts that the cache holds.</param>
/// <param name="Values">[segments][cache sizes], hit rates.</param>
public sealed record SegmentCache(
    IReadOnlyList<int> Segments, IReadOnlyList<int> CacheSizes, IReadOnlyList<IReadOnlyList<double>> Values);
