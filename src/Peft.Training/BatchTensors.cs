using Peft.Data;
using Peft.Data.Batches;
using Peft.Models;

namespace Peft.Training;

/// <summary>A token batch on the device.</summary>
/// <remarks>Shapes: Ids [B, T] int64; LearnedIndex [M] int64 into the flattened [B*T] positions whose next token is
/// learned;
/// LearnedTargets [M] int64; TaskIds [B] int64, or [B, T] where rows are packed; TokenMask [B, T] bool, true for real
/// tokens, null
/// when no row is padded.</remarks>
public sealed class BatchTensors : IDisposable
{
    private BatchTensors(
        Tensor ids, Tensor learnedIndex, Tensor learnedTargets, Tensor taskIds, Tensor? tokenMask, Tensor? promptMask,
        SequenceSegments? segments)
    {
        Ids = ids;
        LearnedIndex = learnedIndex;
        LearnedTargets = learnedTargets;
        TaskIds = taskIds;
        TokenMask = tokenMask;
        PromptMask = promptMask;
        Segments = segments;
    }

    /// <summary>Token ids [B, T].</summary>
    public Tensor Ids { get; }

    /// <summary>Flat positions that are learned [M].</summary>
    public Tensor LearnedIndex { get; }

    /// <summary>The token that follows each of them [M].</summary>
    public Tensor LearnedTargets { get; }

    /// <summary>Task of each row [B], or of each token [B, T] where rows are packed.</summary>
    public Tensor TaskIds { get; }

    /// <summary>Real tokens [B, T]; null when all are.</summary>
    public Tensor? TokenMask { get; }

    /// <summary>The tokens before the first learned one [B, T]; null where rows are packed.</summary>
    public Tensor? PromptMask { get; }

    /// <summary>The sequences of packed rows; null when each row is one.</summary>
    public SequenceSegments? Segments { get; }

    /// <summary>Copies a batch to a device. The learned positions are known before the forward pass, so head and loss
    /// are
    /// computed only there.</summary>
    public static BatchTensors From(TokenBatch batch, Device device)
    {
        var (B, T) = (batch.BatchSize, batch.Length);
        var index = new List<long>((int)batch.LearnedTokens);
        var targets = new List<long>((int)batch.LearnedTokens);
        for (var i = 0; i < batch.Targets.Length; i++)
        {
            if (batch.Targets[i] < 0)
                continue;
            index.Add(i);
            targets.Add(batch.Targets[i]);
        }
        return new(
            torch.tensor(Array.ConvertAll(batch.Ids, id => (long)id), [B, T], device: device),
            torch.tensor(index.ToArray(), [index.Count], device: device),
            torch.tensor(targets.ToArray(), [targets.Count], device: device),
            batch.IsPacked
                ? torch.tensor(PerToken(batch, sequence => (long)batch.TaskIds[sequence]), [B, T], device: device)
                : torch.tensor(Array.ConvertAll(batch.TaskIds, id => (long)id), [B], device: device),
            batch.Lengths.Sum() == B * T ? null : torch.tensor(PerToken(batch, _ => true), [B, T], device: device),
            batch.IsPacked ? null : torch.tensor(PromptOf(batch), [B, T], device: device),
            batch.IsPacked ? new SequenceSegments(B, T, BordersOf(batch)) : null);
    }

    /// <summary>A pass over this batch that builds a graph.</summary>
    public ForwardPass TrainingPass(
        Generator? random = null, bool gradientCheckpointing = false, BatchShare? share = null) =>
        ForwardPass.ForTraining(
            random, TaskIds, TokenMask, null, Segments, gradientCheckpointing, PromptMask, share,
            share?.Tokens(Ids.shape[1], Ids.device).index_select(0, LearnedIndex) ?? LearnedIndex);

    /// <summary>A pass over this batch that builds no graph.</summary>
    public ForwardPass InferencePass() => ForwardPass.ForInference(
        taskIds: TaskIds, tokenMask: TokenMask, segments: Segments, promptMask: PromptMask);

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        Ids.Dispose();
        LearnedIndex.Dispose();
        LearnedTargets.Dispose();
        TaskIds.Dispose();
        TokenMask?.Dispose();
        PromptMask?.Dispose();
    }

    private static IEnumerable<long> BordersOf(TokenBatch batch) =>
        batch.Starts.Zip(batch.Lengths).SelectMany(pair => new long[] { pair.First, pair.First + pair.Second });

    // A token whose successor is the first to be learned is the prompt's last; a row without learned tokens is all
    // prompt.
    private static bool[] PromptOf(TokenBatch batch)
    {
        var mask = new bool[batch.BatchSize * batch.Length];
        for (var row = 0; row < batch.BatchSize; row++)
        {
            var tokens = batch.Targets.AsSpan(batch.Starts[row], batch.Lengths[row]);
            var first = tokens.IndexOfAnyInRange(0, int.MaxValue);
            Array.Fill(mask, true, batch.Starts[row], first < 0 ? tokens.Length : first + 1);
        }
        return mask;
    }

    // Padding keeps the type's zero: task 0, which always exists, and false in the mask.
    private static T[] PerToken<T>(TokenBatch batch, Func<int, T> ofSequence)
    {
        var values = new T[batch.BatchSize * batch.Length];
        for (var sequence = 0; sequence < batch.SequenceCount; sequence++)
            Array.Fill(values, ofSequence(sequence), batch.Starts[sequence], batch.Lengths[sequence]);
        return values;
    }
}
