using Peft.Training;

namespace Peft.Recipes;

/// <summary>The optimizer that a recipe names.</summary>
public static class Optimizers
{
    /// <summary>AdamW or SGD; vectors (norm weights, biases) are never decayed.</summary>
    public static Optimizer Create(
        TrainingOptions options, IReadOnlyList<(string Name, Parameter Parameter)> parameters)
    {
        var matrices = parameters.Where(p => p.Parameter.ndim > 1).ToList();
        var vectors = parameters.Where(p => p.Parameter.ndim <= 1).ToList();
        ParamGroup[] groups = [new(matrices), new(vectors, WeightDecay: 0)];
        return options.Optim == "sgd"
            ? new SGD(groups, options.LearningRate, options.Momentum, weight_decay: options.WeightDecay)
            : new AdamW(
                groups, options.LearningRate, options.AdamBeta1, options.AdamBeta2, options.AdamEpsilon, options.WeightDecay);
    }
}
