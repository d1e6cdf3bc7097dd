using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>What routing does in a training step beside its losses: several passes over the same rows, gradients that no graph
/// gives, and biases that follow the load.</summary>
/// <remarks>Made for one run; between steps it holds nothing.</remarks>
public sealed class RoutingProcedure(AdaptedModel adapted) : IDisposable
{
    private readonly Dictionary<string, Tensor> _counts = [];
    private RlooEstimator? _estimator;

    /// <summary>Forward and backward passes over each micro-batch.</summary>
    public int Passes => adapted.Options.Router?.Passes ?? 1;

    /// <summary>Takes in a pass whose backward is done.</summary>
    /// <param name="pass">The pass.</param>
    /// <param name="mask">[B, T] bool, true = real token; null: all are.</param>
    /// <param name="exampleLosses">Makes [B], each row's part of the step's loss.</param>
    public void AfterPass(ForwardPass pass, Tensor? mask, Func<Tensor> exampleLosses)
    {
        ArgumentNullException.ThrowIfNull(pass);
        ArgumentNullException.ThrowIfNull(exampleLosses);
        if (Passes > 1)
            (_estimator ??= new RlooEstimator()).Add(pass, exampleLosses());
        if (adapted.Modules.Any(module => module.Router is ILoadBalanced))
            Count(pass, mask);
    }

    /// <summary>Ends a micro-batch: adds the gradients that its passes came to.</summary>
    public void AfterMicroBatch()
    {
        _estimator?.AddTo(adapted.Modules.Select(module => module.Router).OfType<Router>());
        _estimator?.Dispose();
        _estimator = null;
    }

    /// <summary>Ends a step: moves the biases by the load of all its tokens.</summary>
    public void AfterStep()
    {
        foreach (var module in adapted.Modules)
        {
            if (module.Router is ILoadBalanced balanced && _counts.TryGetValue(module.Path, out var counts))
                balanced.Balance(counts);
        }
        Clear();
    }

    /// <summary>Forgets a step that was not applied.</summary>
    public void Clear()
    {
        _estimator?.Dispose();
        _estimator = null;
        foreach (var counts in _counts.Values)
            counts.Dispose();
        _counts.Clear();
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();

    private void Count(ForwardPass pass, Tensor? mask)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var real = mask?.reshape(-1, 1).to(torch.float32);                                     // [N, 1]
        foreach (var record in pass.Records<RoutingRecord>())
        {
            var selected = record.Decision.Selected.to(torch.float32);                         // [N, E]
            var counts = (real is null ? selected : selected * real).sum(0L);                  // [E]
            if (_counts.TryGetValue(record.Module, out var sum))
                sum.add_(counts);
            else
                _counts[record.Module] = counts.DetachFromDisposeScope();
        }
    }
}
