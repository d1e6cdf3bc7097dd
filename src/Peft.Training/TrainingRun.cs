using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Distributed;
using Peft.Models;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;

namespace Peft.Training;

/// <summary>Everything that one training run works with, put together once.</summary>
public sealed record TrainingRun
{
    /// <summary>What is trained.</summary>
    public required ITrainable Trainable { get; init; }

    /// <summary>The rows; with held-out ones, their loss is measured while training.</summary>
    public required TrainingData Data { get; init; }

    /// <summary>The settings of the loop.</summary>
    public required TrainingOptions Options { get; init; }

    /// <summary>Optimizer steps of the whole run.</summary>
    public required int TotalSteps { get; init; }

    /// <summary>The optimizer over the trainable parameters.</summary>
    public required Optimizer Optimizer { get; init; }

    /// <summary>Where the model is.</summary>
    public required Device Device { get; init; }

    /// <summary>Where checkpoints go.</summary>
    public required CheckpointStore Checkpoints { get; init; }

    /// <summary>The checkpoint to continue from; null for the beginning.</summary>
    public CheckpointRef? ResumeFrom { get; init; }

    /// <summary>
    /// What a checkpoint must have been written by to be continued: the resolved recipe less what may change.
    /// </summary>
    public required string RecipeIdentity { get; init; }

    /// <summary>Hashes of what the recipe names beside base and data, by what it is.</summary>
    public IReadOnlyDictionary<string, string> Inputs { get; init; } = new Dictionary<string, string>();

    /// <summary>Where the numbers go.</summary>
    public IReadOnlyList<IMetricSink> Sinks { get; init; } = [];

    /// <summary>The processes that compute it together; each has a run of its own, and rank 0 writes.</summary>
    public ICommunicator Ranks { get; init; } = Alone.Instance;

    /// <summary>The same for numbers where the parameters are; null: in the memory of the host, where
    /// <see cref="Ranks"/> sums.</summary>
    public ICommunicator? DeviceRanks { get; init; }

    /// <summary>What else must be the same on every rank, with its name.</summary>
    public IReadOnlyList<(string Name, string Value)> Identity { get; init; } = [];

    /// <summary>Learning rate by step.</summary>
    public LearningRateSchedule Schedule => LearningRateSchedule.From(Options, TotalSteps);

    /// <summary>
    /// A run over data whose number of batches is known, or with <see cref="TrainingOptions.MaxSteps"/>.
    /// </summary>
    /// <param name="trainable">What is trained; the optimizer is made for its parameters.</param>
    /// <param name="data">The rows.</param>
    /// <param name="options">The settings.</param>
    /// <param name="output">Directory of the checkpoints.</param>
    /// <param name="device">Where the model is.</param>
    /// <param name="recipeIdentity">See <see cref="RecipeIdentity"/>.</param>
    public static TrainingRun Of(
        ITrainable trainable, TrainingData data, TrainingOptions options, string output, Device device,
        string recipeIdentity) => new()
        {
            Trainable = trainable,
            Data = data,
            Options = options,
            TotalSteps = options.TotalSteps(
                () => data.Batches(options.PerDeviceTrainBatchSize, options.Seed).BatchesPerEpoch!.Value),
            Optimizer = options.NewOptimizer(trainable.Parameters),
            Device = device,
            Checkpoints = new CheckpointStore(output),
            RecipeIdentity = recipeIdentity,
        };
}
