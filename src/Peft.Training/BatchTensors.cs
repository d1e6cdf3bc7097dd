using Peft.Data;
using Peft.Torch;

namespace Peft.Training;

/// <summary>A token batch on the device.</summary>
/// <remarks>Shapes: Ids [B, T] int64; LearnedIndex [M] int64 into the flattened [B*T] positions whose next token is learned;
/// LearnedTargets [M] int64; TaskIds [B] int64; TokenMask [B, T] bool, true for real tokens, null when no row is padded.</remarks>
public sealed class BatchTensors : IDisposable
{
    private BatchTensors(Tensor ids, Tensor learnedIndex, Tensor learnedTargets, Tensor taskIds, Tensor? tokenMask)
    {
        Ids = ids;
        LearnedIndex = learnedIndex;
        LearnedTargets = learnedTargets;
        TaskIds = taskIds;
        TokenMask = tokenMask;
    }

    /// <summary>Token ids [B, T].</summary>
    public Tensor Ids { get; }

    /// <summary>Flat positions that are learned [M].</summary>
    public Tensor LearnedIndex { get; }

    /// <summary>The token that follows each of them [M].</summary>
    public Tensor LearnedTargets { get; }

    /// <summary>Task of each row [B].</summary>
    public Tensor TaskIds { get; }

    /// <summary>Real tokens [B, T]; null when all are.</summary>
    public Tensor? TokenMask { get; }

    /// <summary>Copies a batch to a device. The learned positions are known before the forward pass, so head and loss are
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
            torch.tensor(Array.ConvertAll(batch.TaskIds, id => (long)id), [B], device: device),
            batch.Lengths.All(l => l == T) ? null : torch.tensor(MaskOf(batch), [B, T], device: device));
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        Ids.Dispose();
        LearnedIndex.Dispose();
        LearnedTargets.Dispose();
        TaskIds.Dispose();
        TokenMask?.Dispose();
    }

    private static bool[] MaskOf(TokenBatch batch)
    {
        var mask = new bool[batch.BatchSize * batch.Length];
        for (var row = 0; row < batch.BatchSize; row++)
            Array.Fill(mask, true, row * batch.Length, batch.Lengths[row]);
        return mask;
    }
}
