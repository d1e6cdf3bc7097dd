using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data.Batches;
using Peft.Models;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;

namespace Peft.Training;

/// <summary>Everything that one training run needs, put together once by the recipes room.</summary>
public sealed record TrainingRun
{
    /// <summary>The model, with adapters attached or with all parameters open.</summary>
    public required CausalLanguageModel Model { get; init; }

    /// <summary>What the optimizer changes, by stable name.</summary>
    public required IReadOnlyList<(string Name, Parameter Parameter)> Parameters { get; init; }

    /// <summary>The settings of the loop.</summary>
    public required TrainingOptions Options { get; init; }

    /// <summary>Optimizer steps of the whole run.</summary>
    public required int TotalSteps { get; init; }

    /// <summary>Learning rate by step.</summary>
    public required LearningRateSchedule Schedule { get; init; }

    /// <summary>The optimizer over <see cref="Parameters"/>.</summary>
    public required Optimizer Optimizer { get; init; }

    /// <summary>Opens the endless stream of training batches at a position (null: the beginning).</summary>
    public required Func<BatchStreamState?, BatchStream> Batches { get; init; }

    /// <summary>Auxiliary loss of a forward pass, its coefficients included; null without one.</summary>
    public Func<ForwardPass, Tensor?, Tensor?>? AuxiliaryLoss { get; init; }

    /// <summary>Share of gate weight per expert, from a forward pass and its token mask, for the metrics.</summary>
    public Func<ForwardPass, Tensor?, IReadOnlyList<double>>? Load { get; init; }

    /// <summary>What routing does beside its losses: passes over the same rows, gradients without a graph, biases; null without.</summary>
    public RoutingProcedure? Routing { get; init; }

    /// <summary>What each module's routing did, from a forward pass and its token mask; asked for at logging steps. Null without routing.</summary>
    public Func<ForwardPass, Tensor?, IReadOnlyList<RoutingStatistics>>? RoutingStatistics { get; init; }

    /// <summary>Called after each applied optimizer step with the step's index.</summary>
    public Action<int>? AfterStep { get; init; }

    /// <summary>Evaluation while training: step to metrics, <c>eval_loss</c> among them; null without held-out data.</summary>
    public Func<int, IReadOnlyDictionary<string, double>>? Evaluate { get; init; }

    /// <summary>Where the numbers go.</summary>
    public IReadOnlyList<IMetricSink> Sinks { get; init; } = [];

    /// <summary>Writes the model into a directory, exactly, in the form it will be saved in at the end.</summary>
    public required Action<string> SaveModel { get; init; }

    /// <summary>Reads back what <see cref="SaveModel"/> wrote.</summary>
    public required Action<string> LoadModel { get; init; }

    /// <summary>Where checkpoints go.</summary>
    public required CheckpointStore Checkpoints { get; init; }

    /// <summary>The checkpoint to continue from.</summary>
    public CheckpointRef? ResumeFrom { get; init; }

    /// <summary>Where the model is.</summary>
    public required Device Device { get; init; }

    /// <summary>What a checkpoint must have been written by to be continued: the resolved recipe less what may change.</summary>
    public required string RecipeIdentity { get; init; }
}
