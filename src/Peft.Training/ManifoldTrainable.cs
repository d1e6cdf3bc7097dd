using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;
using Peft.Formats;
using Peft.Models;

namespace Peft.Training;

/// <summary>Routers of the last layers, tuned towards the routing of rows that are answered correctly.</summary>
/// <remarks>
/// Source: RoMA, arXiv:2511.07419. Before the first step every row is run once with the routers as they came: that
/// gives its embedding (the mean of the last activations over the prompt), its routing (at the prompt's last token)
/// and whether each learned token is the likeliest. Inferred: the embedding is the model's own, and neighbours of a
/// row are sought once. It follows from data and bundle alone, so a run that is resumed has the same.
/// </remarks>
public sealed class ManifoldTrainable : AdapterTrainable
{
    private readonly ManifoldOptions _options;
    private readonly HashSet<string> _modules;
    private readonly Dictionary<RowId, long> _rows = [];
    private readonly Tensor _routing;
    private readonly Tensor _nearest;
    private readonly Tensor _weights;
    private TokenBatch? _batch;

    private ManifoldTrainable(
        BundleContents contents, ManifoldOptions options, HashSet<string> modules, TrainingData data, int batchSize,
        Device device)
        : base(contents)
    {
        (_options, _modules) = (options, modules);
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        List<Tensor> embeddings = [], routing = [];
        var correct = new List<long>();
        var count = 0L;
        foreach (var batch in data.Train.Sequential(batchSize))
        {
            using var inner = torch.NewDisposeScope();
            using var tensors = BatchTensors.From(batch, device);
            var pass = tensors.InferencePass();
            var hidden = Model.Hidden(tensors.Ids, pass);                                  // [B, T, H]
            embeddings.Add(EmbeddingOf(hidden, tensors.PromptMask!).MoveToOuterDisposeScope());
            routing.Add(RoutingOf(pass, tensors.PromptMask!).MoveToOuterDisposeScope());
            correct.AddRange(CorrectIn(hidden, tensors, pass).Select(row => count + row));
            foreach (var row in batch.Rows)
                _rows[row] = count++;
        }
        Correct = correct.Count;
        if (correct.Count == 0)
            throw UserException.At(
                "training.manifold", $"none of {Words.Count(count, "training row")} is answered correctly",
                "rows to take the routing of", "train the mixture longer, or leave training.manifold out");
        _routing = torch.cat(routing, 0).DetachFromDisposeScope();
        var (nearest, weights) = ManifoldLoss.Neighbors(
            torch.cat(embeddings, 0), torch.tensor(correct.ToArray(), [correct.Count], device: device),
            options.Neighbors, options.Sigma);
        (_nearest, _weights) = (nearest.DetachFromDisposeScope(), weights.DetachFromDisposeScope());
    }

    /// <summary>How many rows are answered correctly.</summary>
    public int Correct { get; }

    /// <summary>Leaves the routers of the last layers alone to learn, and looks at every row.</summary>
    /// <param name="contents">The mixture with its trained routers.</param>
    /// <param name="options">The settings.</param>
    /// <param name="data">The rows.</param>
    /// <param name="batchSize">Rows looked at together.</param>
    /// <param name="device">Where the model is.</param>
    /// <exception cref="UserException">The data or the adapter does not allow it.</exception>
    public static ManifoldTrainable Of(
        BundleContents contents, ManifoldOptions options, TrainingData data, int batchSize, Device device)
    {
        var routed = contents.Adapted.Modules.Where(module => module.Router is not (null or SharedRouter))
            .Select(module => (Module: module, Layer: TargetSelection.LayerOf(module.Path) ?? -1)).ToList();
        var layers = routed.Select(entry => entry.Layer).Distinct().OrderDescending().Take(options.Layers).ToHashSet();
        foreach (var (module, layer) in routed.Where(entry => !layers.Contains(entry.Layer)))
        {
            foreach (var parameter in module.Router!.parameters())
                parameter.requires_grad = false;
        }
        return new(
            contents, options,
            [.. routed.Where(entry => layers.Contains(entry.Layer)).Select(entry => entry.Module.Path)], data,
            batchSize, device);
    }

    /// <inheritdoc/>
    public override void BeforePass(TokenBatch batch) => _batch = batch;

    /// <inheritdoc/>
    public override Tensor? AuxiliaryLoss(ForwardPass pass, Tensor? mask)
    {
        var own = base.AuxiliaryLoss(pass, mask);
        var rows = torch.tensor(
            [.. _batch!.Rows.Select(row => _rows[row])], [_batch.Rows.Length], device: _routing.device);
        var nearest = _nearest.index_select(0, rows);                                      // [B, K]
        var neighbors = _routing.index_select(0, nearest.reshape(-1))
            .reshape(nearest.shape[0], nearest.shape[1], -1);
        var each = ManifoldLoss.PerRow(RoutingOf(pass, pass.PromptMask!), neighbors, _weights.index_select(0, rows));
        var term = (pass.Share is { } share ? share.Sum(each.sum()) / share.WholeRows : each.mean())
            * _options.Coefficient;
        return own is null ? term : own + term;
    }

    /// <inheritdoc/>
    protected override void DisposeOwn()
    {
        _routing.Dispose();
        _nearest.Dispose();
        _weights.Dispose();
    }

    private Tensor RoutingOf(ForwardPass pass, Tensor prompt) => ManifoldLoss.RoutingOf(
        pass.Records<RoutingRecord>(), _modules,
        torch.arange(0, prompt.shape[0], 1, ScalarType.Int64, prompt.device) * prompt.shape[1]
            + prompt.to(ScalarType.Int64).sum(-1) - 1);

    private static Tensor EmbeddingOf(Tensor hidden, Tensor prompt)
    {
        var weight = prompt.to(ScalarType.Float32).unsqueeze(-1);                          // [B, T, 1]
        var mean = (hidden.to(ScalarType.Float32) * weight).sum(1L) / weight.sum(1L).clamp(min: 1);
        return torch.nn.functional.normalize(mean, dim: -1);
    }

    // Places in the batch of the rows whose learned tokens are all the likeliest.
    private List<int> CorrectIn(Tensor hidden, BatchTensors tensors, ForwardPass pass)
    {
        var learned = hidden.reshape(-1, hidden.shape[2]).index_select(0, tensors.LearnedIndex);
        var isRight = Model.Head(learned, pass).argmax(-1).eq(tensors.LearnedTargets).Values<bool>();
        var row = tensors.LearnedIndex.Values<long>();
        var (rows, length) = ((int)tensors.Ids.shape[0], tensors.Ids.shape[1]);
        var wrong = row.Zip(isRight).Where(entry => !entry.Second).Select(entry => (int)(entry.First / length))
            .ToHashSet();
        var asked = row.Select(place => (int)(place / length)).ToHashSet();
        return [.. Enumerable.Range(0, rows).Where(i => asked.Contains(i) && !wrong.Contains(i))];
    }
}
