using Peft.Data;
using Peft.Data.Batches;
using Peft.Distributed;
using Peft.Models;

namespace Peft.Training;

/// <summary>Cross-entropy of the learned tokens.</summary>
public static class TokenLoss
{
    /// <summary>The losses of each row, summed.</summary>
    /// <remarks>Shapes: losses [M] to [B] float32. Gradient: none.</remarks>
    public static Tensor PerRow(Tensor losses, BatchTensors batch)
    {
        using var off = torch.no_grad();
        var (rows, length) = (batch.Ids.shape[0], batch.Ids.shape[1]);
        var row = batch.LearnedIndex.to(ScalarType.Float64).div(length).floor().to(ScalarType.Int64);             // [M]
        return torch.zeros([rows], ScalarType.Float32, losses.device).scatter_add(0, row,
            losses.detach().to(ScalarType.Float32));
    }

    /// <summary>Loss of each learned token.</summary>
    /// <remarks>
    /// Source: next-token cross-entropy, in nats.
    /// Shapes: hidden [B, T, D] (after the final norm) to [M] float32, M learned positions.
    /// Gradient: reaches hidden, and the head's weight when it is trained. The table [M, V] of logits never exists
    /// whole.
    /// </remarks>
    public static Tensor PerToken(CausalLanguageModel model, Tensor hidden, BatchTensors batch, ForwardPass pass)
    {
        var rows = hidden.reshape([-1, hidden.shape[^1]]).index_select(0, batch.LearnedIndex);      // [M, D]
        return model.TokenLosses(rows, batch.LearnedTargets, pass);
    }
}

/// <summary>Loss on held-out rows.</summary>
public static class EvaluationLoss
{
    /// <summary>Mean cross-entropy in nats over all learned tokens of the batches: over all rows together, and for each
    /// task by its name.</summary>
    /// <param name="model">The model.</param>
    /// <param name="batches">This rank's.</param>
    /// <param name="tasks">Task names by id.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="ranks">Whose batches count; null: this process's alone.</param>
    public static IReadOnlyDictionary<string, double> Of(
        CausalLanguageModel model, IEnumerable<TokenBatch> batches, IReadOnlyList<string> tasks, Device device,
        ICommunicator? ranks = null)
    {
        using var frozen = torch.no_grad();
        var sums = new Dictionary<string, (double Loss, long Tokens)>();
        foreach (var batch in batches)
        {
            using var scope = torch.NewDisposeScope();
            using var tensors = BatchTensors.From(batch, device);
            var pass = tensors.InferencePass();
            var hidden = model.Hidden(tensors.Ids, pass);
            var losses = TokenLoss.PerToken(model, hidden, tensors,
                pass).to(ScalarType.Float64).Values<double>();
            var positions = tensors.LearnedIndex.Values<long>();
            for (var i = 0; i < losses.Length; i++)
            {
                Add("eval_loss", losses[i]);
                var task = batch.TaskIds[batch.SequenceAt(positions[i])];
                if (tasks.Count > 1 && task >= 0)
                    Add($"eval_{tasks[task]}_loss", losses[i]);
            }
        }
        if (ranks?.IsShared() == true)
            SumOver(ranks);
        return sums.ToDictionary(s => s.Key, s => s.Value.Loss / Math.Max(1, s.Value.Tokens));

        void Add(string name, double loss)
        {
            var (total, tokens) = sums.GetValueOrDefault(name);
            sums[name] = (total + loss, tokens + 1);
        }

        void SumOver(ICommunicator all)
        {
            string[] names = ["eval_loss", .. tasks.Select(task => $"eval_{task}_loss")];
            var numbers = names.SelectMany(name =>
                sums.TryGetValue(name, out var sum) ? new[] { sum.Loss, sum.Tokens } : [0.0, 0]).ToArray();
            all.Sum(numbers.AsSpan());
            sums.Clear();
            foreach (var (index, name) in names.Index().Where(name => numbers[2 * name.Index + 1] > 0))
                sums[name] = (numbers[2 * index], (long)numbers[2 * index + 1]);
        }
    }
}
