using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Reports;

/// <summary>
/// What templates can ask for. Names in templates are these in snake_case (<c>{{ base_name }}</c>). Numbers stand as
/// they were measured, the texts beside them as people read them.
/// </summary>
/// <param name="Title">What was compared.</param>
/// <param name="Created">When it was measured.</param>
/// <param name="PeftVersion">Version of the program that measured.</param>
/// <param name="BaseName">The base model.</param>
/// <param name="BaseFingerprint">Its fingerprint, shortened.</param>
/// <param name="Dtype">Type the base computed in.</param>
/// <param name="Seed">Seed of the resamplings.</param>
/// <param name="Samples">Resamplings behind each interval.</param>
/// <param name="Confidence">Share of the intervals, such as 95%.</param>
/// <param name="Correction">Correction of the p values.</param>
/// <param name="Verdict">Which adapter is better, and whether that is significant.</param>
/// <param name="Subjects">What was measured.</param>
/// <param name="Adapters">The adapters among them.</param>
/// <param name="Identified">Those of which it is known exactly which they were, by their fingerprint.</param>
/// <param name="Tasks">The tasks, each with its metrics and their values.</param>
/// <param name="Comparisons">Paired differences of main metrics, adapters with each other first.</param>
/// <param name="OtherComparisons">Those of the other metrics.</param>
/// <param name="RecipeChanges">Keys whose values differ between the adapters' recipes.</param>
/// <param name="Training">Curves of training, an adapter.</param>
/// <param name="Routing">What the experts do, an adapter with routing.</param>
/// <param name="Routers">The adapters with routing beside each other.</param>
/// <param name="Sequences">What was forgotten over sequences of data sets.</param>
/// <param name="Examples">Some predictions, a task.</param>
/// <param name="Notes">What to know before reading the numbers.</param>
/// <param name="Terms">What the terms of the page mean, each by its name.</param>
/// <param name="Glossary">Terms and metrics of this report with their meanings, by alphabet.</param>
/// <param name="ChartsJson">The data of the charts as JSON that is safe inside a script element.</param>
public sealed record ReportModel(
    string Title, string Created, string PeftVersion, string BaseName, string BaseFingerprint, string Dtype, long Seed,
    int Samples,
    string Confidence, string Correction, ReportVerdict Verdict, IReadOnlyList<ReportSubject> Subjects,
    IReadOnlyList<ReportSubject> Adapters, IReadOnlyList<ReportSubject> Identified, IReadOnlyList<ReportTask> Tasks,
    IReadOnlyList<ReportComparison> Comparisons,
    IReadOnlyList<ReportComparison> OtherComparisons, IReadOnlyList<RecipeChange> RecipeChanges,
    IReadOnlyList<ReportTraining> Training,
    IReadOnlyList<ReportRouting> Routing, ReportRouters Routers, IReadOnlyList<ReportSequence> Sequences,
    IReadOnlyList<ReportExamples> Examples,
    IReadOnlyList<string> Notes,
    ReportTerms Terms,
    IReadOnlyList<ReportTerm> Glossary, string ChartsJson);

/// <summary>The answer in words.</summary>
/// <param name="Headline">One sentence.</param>
/// <param name="Detail">What stands behind it.</param>
/// <param name="Tone">clear, worse, mixed, undecided or none.</param>
public sealed record ReportVerdict(string Headline, string Detail, string Tone);

/// <summary>One thing that was measured.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Index">Its place, from 0.</param>
/// <param name="Color">Number of its colour: 0 the base, 1 to 7 adapters.</param>
/// <param name="IsBase">Whether it is the base model.</param>
/// <param name="IsRecorded">Whether its numbers were recorded earlier.</param>
/// <param name="Kind">In words: the method and router of an adapter.</param>
/// <param name="Method">Method of the adapter; empty for the base.</param>
/// <param name="Router">Kind of the router; empty without one.</param>
/// <param name="Path">Where it lay.</param>
/// <param name="Fingerprint">SHA-256 of the bundle, shortened; empty for the base.</param>
/// <param name="Written">When the bundle was written; empty where unknown.</param>
/// <param name="TrainableParameters">Number of trainable parameters.</param>
/// <param name="TrainableText">The same, in groups of three.</param>
/// <param name="StepText">Seconds a training step.</param>
/// <param name="MemoryText">Peak memory of training.</param>
/// <param name="EvaluationText">Time that measuring took.</param>
/// <param name="Recipe">All keys of the resolved recipe.</param>
/// <param name="Hyperparameters">Those of the adapter and its training.</param>
public sealed record ReportSubject(
    string Name, int Index, int Color, bool IsBase, bool IsRecorded, string Kind, string Method, string Router,
    string Path, string Fingerprint,
    string Written,
    long TrainableParameters, string TrainableText, string StepText, string MemoryText, string EvaluationText,
    IReadOnlyList<RecipeValue> Recipe, IReadOnlyList<RecipeValue> Hyperparameters);

/// <summary>One key of a recipe.</summary>
/// <param name="Key">Dotted path.</param>
/// <param name="Value">Its value in JSON, short.</param>
public sealed record RecipeValue(string Key, string Value);

/// <summary>One key whose value differs.</summary>
/// <param name="Key">Dotted path.</param>
/// <param name="Values">Its value in each adapter's recipe, in the order of the adapters; a dash where it has
/// none.</param>
public sealed record RecipeChange(string Key, IReadOnlyList<string> Values);

/// <summary>One task.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Kind">Its kind, in words.</param>
/// <param name="Data">Where its rows came from.</param>
/// <param name="Rows">How many.</param>
/// <param name="Shots">Solved examples before each prompt.</param>
/// <param name="Truncated">Rows cut from the left.</param>
/// <param name="Ties">Rows whose best choices had the same score.</param>
/// <param name="Index">Its place, from 0.</param>
/// <param name="MainMetric">Name of the main metric.</param>
/// <param name="MainMeaning">What it says.</param>
/// <param name="Metrics">Its metrics, the main one first.</param>
public sealed record ReportTask(
    string Name, string Kind, string Data, int Rows, int Shots, int Truncated, int Ties, int Index, string MainMetric,
    string MainMeaning,
    IReadOnlyList<ReportMetric> Metrics);

/// <summary>One metric of a task.</summary>
/// <param name="Task">Name of the task.</param>
/// <param name="Name">Its name.</param>
/// <param name="Label">Its name in words.</param>
/// <param name="Meaning">What it says.</param>
/// <param name="IsMain">Whether it is the task's main one.</param>
/// <param name="HigherIsBetter">Whether larger values are better.</param>
/// <param name="Direction">The same in words.</param>
/// <param name="Unit">Its unit.</param>
/// <param name="Rows">Rows behind it.</param>
/// <param name="Cells">One a subject, in their order.</param>
public sealed record ReportMetric(
    string Task, string Name, string Label, string Meaning, bool IsMain, bool HigherIsBetter, string Direction,
    string Unit, int Rows,
    IReadOnlyList<ReportCell> Cells);

/// <summary>One subject's value.</summary>
/// <param name="Subject">Whose.</param>
/// <param name="IsMeasured">Whether there is a value.</param>
/// <param name="Value">The value; 0 where there is none.</param>
/// <param name="ValueText">The value in words; a dash where there is none.</param>
/// <param name="IntervalText">Its interval.</param>
/// <param name="IsBest">Whether no other is better, and not all are alike.</param>
/// <param name="IsClearlyBest">Whether it is significantly better than each other one.</param>
/// <param name="Mark">Against the reference (the base where it was measured, else the first): better, worse, same, or
/// empty.</param>
/// <param name="MarkText">The mark in words.</param>
public sealed record ReportCell(
    string Subject, bool IsMeasured, double Value, string ValueText, string IntervalText, bool IsBest,
    bool IsClearlyBest, string Mark,
    string MarkText);

/// <summary>One paired difference.</summary>
/// <param name="Task">On which task.</param>
/// <param name="Metric">By which metric.</param>
/// <param name="Label">The metric in words.</param>
/// <param name="A">First subject.</param>
/// <param name="B">Second subject.</param>
/// <param name="DifferenceText">b less a.</param>
/// <param name="IntervalText">Its interval.</param>
/// <param name="PText">p value.</param>
/// <param name="PAdjustedText">p value, corrected.</param>
/// <param name="IsReal">Whether the corrected p value is small enough.</param>
/// <param name="Better">The better one where the difference is significant, else empty.</param>
/// <param name="Conclusion">In words.</param>
public sealed record ReportComparison(
    string Task, string Metric, string Label, string A, string B, string DifferenceText, string IntervalText,
    string PText,
    string PAdjustedText, bool IsReal, string Better, string Conclusion);

/// <summary>Some points of an adapter's training curves.</summary>
/// <param name="Subject">Whose.</param>
/// <param name="FirstLoss">Loss at the first point.</param>
/// <param name="LastLoss">Loss at the last.</param>
/// <param name="Points">About a dozen points.</param>
/// <param name="Held">Loss on the held-out rows at about a dozen steps.</param>
public sealed record ReportTraining(
    string Subject, string FirstLoss, string LastLoss, IReadOnlyList<TrainingPoint> Points,
    IReadOnlyList<CurvePoint> Held);

/// <summary>One point.</summary>
/// <param name="Step">Step.</param>
/// <param name="Loss">Loss.</param>
/// <param name="Aux">Auxiliary losses.</param>
/// <param name="LearningRate">Learning rate.</param>
/// <param name="TokensPerSecond">Speed.</param>
public sealed record TrainingPoint(long Step, string Loss, string Aux, string LearningRate, string TokensPerSecond);

/// <summary>One point.</summary>
/// <param name="Step">Step.</param>
/// <param name="Value">The value there.</param>
public sealed record CurvePoint(long Step, string Value);

/// <summary>One term.</summary>
/// <param name="Name">The term.</param>
/// <param name="Meaning">What it means.</param>
public sealed record ReportTerm(string Name, string Meaning);

/// <summary>Some predictions of one task.</summary>
/// <param name="Task">Which.</param>
/// <param name="Rows">The rows: where the adapters differ, where all are right, where all are wrong.</param>
public sealed record ReportExamples(string Task, IReadOnlyList<ReportExample> Rows);

/// <summary>One row.</summary>
/// <param name="Row">Number of the row, from 1.</param>
/// <param name="Prompt">What the model was given.</param>
/// <param name="Answer">What was expected.</param>
/// <param name="Kind">In words: differ, all right, all wrong.</param>
/// <param name="Predictions">What each subject said.</param>
public sealed record ReportExample(
    long Row, string Prompt, string Answer, string Kind, IReadOnlyList<ReportPrediction> Predictions);

/// <summary>What one subject said.</summary>
/// <param name="Subject">Who.</param>
/// <param name="Text">The words.</param>
/// <param name="IsRight">Whether it is the expected answer.</param>
/// <param name="Mark">right or wrong.</param>
/// <param name="ScoreText">The row's score.</param>
public sealed record ReportPrediction(string Subject, string Text, bool IsRight, string Mark, string ScoreText);

/// <summary>What one adapter's experts do, as templates see it.</summary>
/// <param name="Subject">Whose.</param>
/// <param name="Index">Place among the adapters with routing, from 0.</param>
/// <param name="Modules">Routed projections.</param>
/// <param name="Experts">Most experts of a projection.</param>
/// <param name="SharedText">How many experts every token gets beside them; empty for none.</param>
/// <param name="ExpertNames">e0, e1, ...</param>
/// <param name="EntropyText">Mean entropy of a token's distribution; a dash where the router has none.</param>
/// <param name="SupportText">Mean effective number of experts a token.</param>
/// <param name="ExpertsPerTokenText">Mean number of open gates.</param>
/// <param name="DeadExperts">Experts that no token used, over all projections.</param>
/// <param name="Layers">Share of the gate weight by layer, mean over its projections.</param>
/// <param name="Projections">One row a projection.</param>
/// <param name="Tasks">Share of the gate weight by task; empty where it was not counted.</param>
/// <param name="MutualInformationText">Of task and expert, by <paramref name="Tasks"/>.</param>
/// <param name="NormalizedText">The same over the most there can be.</param>
/// <param name="InformationText">The same of each projection's own experts, mean over projections.</param>
/// <param name="Distances">How unlike the experts of two tasks are, a row and a column a task; empty where it was not
/// counted.</param>
/// <param name="Similarity">Cosines of the experts' updates; empty where not computed.</param>
/// <param name="Srp">SRP by length of segment.</param>
/// <param name="SchSizes">Sizes of the cache.</param>
/// <param name="Sch">Hit rates, a row a look-ahead, a column a size.</param>
public sealed record ReportRouting(
    string Subject, int Index, int Modules, int Experts, string SharedText, IReadOnlyList<string> ExpertNames,
    string EntropyText, string SupportText,
    string ExpertsPerTokenText, int DeadExperts, IReadOnlyList<ReportRow> Layers, IReadOnlyList<ReportRow> Projections,
    IReadOnlyList<ReportRow> Tasks, string MutualInformationText, string NormalizedText,
    string InformationText,
    IReadOnlyList<ReportRow> Distances, IReadOnlyList<ReportRow> Similarity,
    IReadOnlyList<ReportRow> Srp, IReadOnlyList<string> SchSizes, IReadOnlyList<ReportRow> Sch);

/// <summary>An adapter over a sequence of data sets.</summary>
/// <param name="Tasks">The tasks, in the order of training.</param>
/// <param name="Stages">Scores by task, a row a stage.</param>
/// <param name="Forgotten">What was forgotten of each task; a dash for the last.</param>
/// <param name="MeanText">Mean forgetting.</param>
/// <param name="TransferText">Mean backward transfer.</param>
public sealed record ReportSequence(
    IReadOnlyList<string> Tasks, IReadOnlyList<ReportRow> Stages, IReadOnlyList<string> Forgotten, string MeanText,
    string TransferText);

/// <summary>Routers beside each other.</summary>
/// <param name="Headline">Which one tells the tasks apart most.</param>
/// <param name="Detail">What else stands out.</param>
/// <param name="Rows">One an adapter with routing.</param>
/// <param name="Profiles">Curves by layer, by length and over training.</param>
public sealed record ReportRouters(
    string Headline, string Detail, IReadOnlyList<ReportRouter> Rows, IReadOnlyList<ReportProfile> Profiles);

/// <summary>One router beside others. A dash stands for what it does not have.</summary>
/// <param name="Subject">Whose.</param>
/// <param name="Index">Place of the adapter among the subjects.</param>
/// <param name="Color">Number of its colour.</param>
/// <param name="Kind">Kind of the router.</param>
/// <param name="OpenText">Open gates per token, of so many experts.</param>
/// <param name="InformationText">Task information, mean over projections.</param>
/// <param name="CosineText">Mean cosine of two experts' updates.</param>
/// <param name="EvennessText">Evenness of the load.</param>
/// <param name="DeadExperts">Experts that no token used, over all projections.</param>
/// <param name="EntropyText">Entropy of a token's distribution, as a share of ln E.</param>
/// <param name="SrpText">SRP of 16 tokens.</param>
/// <param name="SchText">SCH of a cache as large as a token's open gates.</param>
/// <param name="ChangeText">Change of the load in the second half of training.</param>
public sealed record ReportRouter(
    string Subject, int Index, int Color, string Kind, string OpenText, string InformationText, string CosineText,
    string EvennessText, int DeadExperts, string EntropyText, string SrpText, string SchText, string ChangeText);

/// <summary>One curve of every router.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Index">Its place, from 0.</param>
/// <param name="Title">What goes up.</param>
/// <param name="Note">How it is measured.</param>
/// <param name="Across">What goes to the right.</param>
/// <param name="Places">Some places to the right.</param>
/// <param name="Rows">The values there, a row an adapter.</param>
public sealed record ReportProfile(
    string Name, int Index, string Title, string Note, string Across, IReadOnlyList<string> Places,
    IReadOnlyList<ReportRow> Rows);

/// <summary>A named row of a table.</summary>
/// <param name="Name">Its heading.</param>
/// <param name="Cells">Its cells.</param>
public sealed record ReportRow(string Name, IReadOnlyList<string> Cells);
