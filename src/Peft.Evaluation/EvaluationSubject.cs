using Peft.Adapters.Lora;
using Peft.Evaluation.Results;
using Peft.Models;

namespace Peft.Evaluation;

/// <summary>One thing to be measured: what is known of it, and how it is loaded when its turn comes.</summary>
/// <param name="Description">What results.json says of it; the seconds are filled in.</param>
/// <param name="Open">Loads it.</param>
/// <param name="TaskIdOf">The id of a task for routers that go by task; null for all others.</param>
public sealed record EvaluationSubject(Subject Description, Func<OpenedSubject> Open, Func<string, long?> TaskIdOf)
{
    /// <summary>Its name in results.</summary>
    public string Name => Description.Name;
}

/// <summary>A loaded model.</summary>
/// <param name="Model">The model.</param>
/// <param name="Adapted">The adapter on it; null for the bare base.</param>
public sealed record OpenedSubject(CausalLanguageModel Model, AdaptedModel? Adapted) : IDisposable
{
    /// <summary>Frees the model.</summary>
    public void Dispose() => Model.Dispose();
}

/// <summary>Where an evaluation stands.</summary>
/// <param name="Subject">What is being measured.</param>
/// <param name="Task">On which task.</param>
/// <param name="Done">Rows answered, of all subjects and tasks.</param>
/// <param name="Total">Rows there are to answer.</param>
/// <param name="Found">Rows answered before this start.</param>
/// <param name="Computed">Rows answered since.</param>
public sealed record EvaluationProgress(string Subject, string Task, long Done, long Total, long Found, long Computed);
