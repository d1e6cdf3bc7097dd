namespace Peft.Evaluation.Reports;

/// <summary>What one adapter's experts do, as templates see it.</summary>
/// <param name="Subject">Whose.</param>
/// <param name="Index">Place among the adapters with routing, from 0.</param>
/// <param name="Modules">Routed projections.</param>
/// <param name="Experts">Most experts of a projection.</param>
/// <param name="ExpertNames">e0, e1, ...</param>
/// <param name="EntropyText">Mean entropy of a token's distribution; a dash where the router has none.</param>
/// <param name="SupportText">Mean effective number of experts a token.</param>
/// <param name="ExpertsPerTokenText">Mean number of open gates.</param>
/// <param name="DeadExperts">Experts that no token used, over all projections.</param>
/// <param name="Layers">Share of the gate weight by layer, mean over its projections.</param>
/// <param name="Projections">One row a projection.</param>
/// <param name="Tasks">Share of the gate weight by task; empty where it was not counted.</param>
/// <param name="MutualInformationText">Of task and expert.</param>
/// <param name="NormalizedText">The same over the most there can be.</param>
/// <param name="Similarity">Cosines of the experts' updates; empty where not computed.</param>
/// <param name="Srp">SRP by length of segment.</param>
/// <param name="SchSizes">Sizes of the cache.</param>
/// <param name="Sch">Hit rates, a row a look-ahead, a column a size.</param>
public sealed record ReportRouting(
    string Subject, int Index, int Modules, int Experts, IReadOnlyList<string> ExpertNames, string EntropyText, string SupportText,
    string ExpertsPerTokenText, int DeadExperts, IReadOnlyList<ReportRow> Layers, IReadOnlyList<ReportRow> Projections,
    IReadOnlyList<ReportRow> Tasks, string MutualInformationText, string NormalizedText, IReadOnlyList<ReportRow> Similarity,
    IReadOnlyList<ReportRow> Srp, IReadOnlyList<string> SchSizes, IReadOnlyList<ReportRow> Sch);

/// <summary>A named row of a table.</summary>
/// <param name="Name">Its heading.</param>
/// <param name="Cells">Its cells.</param>
public sealed record ReportRow(string Name, IReadOnlyList<string> Cells);
