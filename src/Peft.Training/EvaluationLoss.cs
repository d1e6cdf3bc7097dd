using Peft.Data;
using Peft.Data.Batches;
using Peft.Models;

namespace Peft.Training;

/// <summary>Loss on held-out rows.</summary>
public static class EvaluationLoss
{
    /// <summary>Mean cross-entropy in nats over all learned tokens of the batches: over all rows together, and for each
    /// task by its name.</summary>
    public static IReadOnlyDictionary<string, double> Of(
        CausalLanguageModel model, IEnumerable<TokenBatch> batches, IReadOnlyList<string> tasks, Device device)
    {
        using var frozen = torch.no_grad();
        var sums = new Dictionary<string, (double Loss, long Tokens)>();
        foreach (var batch in batches)
        {
            using var scope = torch.NewDisposeScope();
            using var tensors = BatchTensors.From(batch, device);
            var pass = tensors.InferencePass();
            var hidden = model.Hidden(tensors.Ids, pass);
            var losses = TokenLoss.PerToken(model, hidden, tensors, pass).to(ScalarType.Float64).data<double>().ToArray();
            var positions = tensors.LearnedIndex.data<long>().ToArray();
            for (var i = 0; i < losses.Length; i++)
            {
                Add("eval_loss", losses[i]);
                var task = batch.TaskIds[batch.SequenceAt(positions[i])];
                if (tasks.Count > 1 && task >= 0)
                    Add($"eval_{tasks[task]}_loss", losses[i]);
            }
        }
        return sums.ToDictionary(s => s.Key, s => s.Value.Loss / Math.Max(1, s.Value.Tokens));

        void Add(string name, double loss)
        {
            var (total, tokens) = sums.GetValueOrDefault(name);
            sums[name] = (total + loss, tokens + 1);
        }
    }
}
