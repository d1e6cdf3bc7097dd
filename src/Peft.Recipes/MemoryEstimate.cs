using Peft.Adapters.Lora;
using Peft.Models;

namespace Peft.Recipes;

/// <summary>What a run will need in memory, estimated before it starts.</summary>
/// <param name="Base">Base weights, in bytes.</param>
/// <param name="Trained">Trained values with gradients and optimizer state.</param>
/// <param name="Activations">What one forward keeps for its backward, at most.</param>
public sealed record MemoryEstimate(long Base, long Trained, long Activations)
{
    private const long HeadBlockBytes = 32L << 20;

    /// <summary>Estimates a prepared run.</summary>
    /// <remarks>
    /// Trained values count once for themselves, once for the gradient and once for each tensor of optimizer state.
    /// Activations count, for each block, what the fused operations keep: the two norm inputs, q, k, v, the attention's
    /// probabilities, its output, gate, up and their product, and H [N, E*R] of each adapted projection; padding
    /// included. With
    /// gradient checkpointing that is of one block, beside every block's input and the gates.
    /// The head adds a block of logits and the slope of the loss by the last activations.
    /// Rows that are streamed are taken to be <c>max_length</c> long.
    /// </remarks>
    public static MemoryEstimate Of(PreparedRun run)
    {
        var model = run.Trainable.Model;
        var options = run.Recipe.Training;
        var data = run.Recipe.Data;
        var longest = run.Data.IsStreaming ? data.MaxLength : run.Data.Train.Statistics.Lengths.Longest;
        long length = data.RowLength > 0 ? data.RowLength : Math.Min(data.MaxLength, longest);
        var states = options.OptimizerStates;
        return new(
            model.BaseParameters.Sum(p => p.Parameter.ByteCount()),
            run.Trainable.Parameters.Sum(p => p.Parameter.ByteCount()) * (run.Trainable.Modules.Count == 0 ? 1 + states
                : 2 + states),
            ActivationBytes(
                model, run.Trainable.Modules, options.PerDeviceTrainBatchSize, length, Math.Min(length, longest),
                options.GradientCheckpointing));
    }

    /// <summary>What one forward over rows of a length keeps for its backward, at most.</summary>
    /// <param name="model">The model.</param>
    /// <param name="modules">Its adapted projections.</param>
    /// <param name="rows">Rows of a batch.</param>
    /// <param name="length">Tokens of a row.</param>
    /// <param name="longest">Tokens of the longest sequence in a row.</param>
    /// <param name="gradientCheckpointing">Whether blocks are run again instead of kept.</param>
    public static long ActivationBytes(
        CausalLanguageModel model, IReadOnlyList<MixtureProjection> modules, long rows, long length, long longest,
        bool gradientCheckpointing)
    {
        var config = model.Config;
        var width = ByteWidth(model.Dtype);
        var tokens = rows * length;
        var heads = (long)config.HeadCount * config.HeadSize;
        var keys = (long)config.KeyValueHeadCount * config.HeadSize;
        var perToken = 4L * config.HiddenSize + 2 * heads + 2 * keys + 3L * config.IntermediateSize;
        var attention = 4L * rows * config.HeadCount * length * longest;
        var mixtures = tokens * width * modules.Sum(m => (long)m.Shape.Experts * m.Shape.Rank);
        var gates = tokens * 8 * modules.Sum(m => (long)m.Shape.Experts);
        var block = tokens * perToken * width + attention + mixtures / config.LayerCount;
        // The head's logits exist in blocks of 32 MiB; its slope by the activations is kept.
        var head = Math.Min(HeadBlockBytes, 4 * tokens * config.VocabularySize) + tokens * config.HiddenSize * width;
        return gates + head + (gradientCheckpointing
            ? config.LayerCount * tokens * config.HiddenSize * width + block
            : config.LayerCount * block);
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"memory: base {Mega(Base)}, trainable parameters with gradients and optimizer {Mega(Trained)}, " +
        $"activations of one pass up to {Mega(Activations)}; {Mega(Base + Trained + Activations)} in all, and the "
        + $"program itself";

    private static string Mega(long bytes) => $"{bytes / 1048576.0:F1} MB";

    private static int ByteWidth(ScalarType dtype) => dtype switch
    {
        ScalarType.Float64 => 8,
        ScalarType.Float32 => 4,
        _ => 2,
    };
}
