using Peft.Data.Batches;

namespace Peft.Training;

/// <summary>Where a run stands after a step; with the tensors, all that an exact continuation needs.</summary>
/// <param name="Step">Optimizer steps done.</param>
/// <param name="Data">Position in the training data.</param>
/// <param name="BestStep">Step of the best evaluation.</param>
/// <param name="BestEvalLoss">Its loss.</param>
/// <param name="EvaluationsWithoutGain">Evaluations since then.</param>
/// <param name="StoppedEarly">Whether early stopping ended the run.</param>
/// <param name="SkippedSteps">Steps that were not applied because a number in them was not finite.</param>
/// <param name="SkippedInARow">How many of them since the last step that was applied.</param>
public sealed record TrainingState(
    int Step, BatchStreamState? Data, int? BestStep, double? BestEvalLoss, int EvaluationsWithoutGain, bool StoppedEarly,
    int SkippedSteps = 0, int SkippedInARow = 0)
{
    /// <summary>Before the first step.</summary>
    public static TrainingState Start { get; } = new(0, null, null, null, 0, false);
}
