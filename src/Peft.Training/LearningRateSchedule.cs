namespace Peft.Training;

/// <summary>The learning rate as a function of the step alone, so that a resumed run needs no state for it.</summary>
/// <remarks>
/// Source: Hugging Face transformers, optimization.py (get_constant_schedule_with_warmup, get_linear_schedule_with_warmup,
/// get_cosine_schedule_with_warmup); <c>floor</c> is the end value as a share of the peak.
/// Units: learning rate per optimizer step; steps count from 0, so with a warm-up the first step's rate is 0, as there.
/// </remarks>
public sealed class LearningRateSchedule(string kind, double peak, int warmupSteps, int totalSteps, double floor = 0)
{
    /// <summary>The shapes there are.</summary>
    public static IReadOnlyList<string> Kinds { get; } = ["constant", "linear", "cosine"];

    /// <summary>Steps in which the rate rises linearly from 0.</summary>
    public int WarmupSteps => warmupSteps;

    /// <summary>The schedule of a run.</summary>
    public static LearningRateSchedule From(TrainingOptions options, int totalSteps)
    {
        var warmup = options.WarmupSteps > 0
            ? options.WarmupSteps
            : (int)Math.Ceiling(options.WarmupRatio * totalSteps);
        return new(options.LrSchedulerType, options.LearningRate, warmup, totalSteps, options.MinLrRatio);
    }

    /// <summary>Learning rate of the step with this index, the first step being 0.</summary>
    public double At(int step)
    {
        if (step < warmupSteps)
            return peak * step / warmupSteps;
        var span = Math.Max(1, totalSteps - warmupSteps);
        var progress = Math.Clamp((step - warmupSteps) / (double)span, 0, 1);
        var share = kind switch
        {
            "constant" => 1,
            "linear" => floor + (1 - floor) * (1 - progress),
            "cosine" => floor + (1 - floor) * 0.5 * (1 + Math.Cos(Math.PI * progress)),
            _ => throw new ArgumentException($"unknown schedule '{kind}'"),
        };
        return peak * share;
    }
}
