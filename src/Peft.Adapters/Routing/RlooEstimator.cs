using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>The gradient of the routers from the losses of several drawn selections, each judged against the mean of all.</summary>
/// <remarks>
/// Source: ReMix, arXiv:2603.10160: <c>Ĝ = 1/(M−1) Σ_m (L_m − L̄) ∇ log Q(J_m)</c>, per example, summed over the batch. It is
/// unbiased for the gradient of the expected loss.
/// Memory: two tensors [B, E, D] a router, whatever M is: Σ L_m ∇log Q_m and Σ ∇log Q_m, L_m counted from the first pass's loss
/// so that nearly equal losses lose no digits.
/// </remarks>
public sealed class RlooEstimator : IDisposable
{
    private readonly Dictionary<string, (Tensor Weighted, Tensor Plain)> _sums = [];
    private Tensor? _first;
    private Tensor? _total;
    private int _passes;

    /// <summary>Takes in one pass.</summary>
    /// <remarks>Shapes: losses [B], each example's part of the step's loss.</remarks>
    public void Add(ForwardPass pass, Tensor losses)
    {
        ArgumentNullException.ThrowIfNull(pass);
        ArgumentNullException.ThrowIfNull(losses);
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var value = losses.detach().to(torch.float32);
        _first ??= value.clone().DetachFromDisposeScope();
        _total ??= torch.zeros_like(value).DetachFromDisposeScope();
        var relative = value - _first;                                                         // [B]
        _total.add_(relative);
        _passes++;
        foreach (var record in pass.Records<RoutingRecord>())
        {
            if (record.Decision is not DrawnDecision drawn)
                continue;
            if (!_sums.TryGetValue(record.Module, out var sums))
            {
                sums = (torch.zeros_like(drawn.Score).DetachFromDisposeScope(), torch.zeros_like(drawn.Score).DetachFromDisposeScope());
                _sums[record.Module] = sums;
            }
            sums.Weighted.add_(drawn.Score * relative.reshape(-1, 1, 1));
            sums.Plain.add_(drawn.Score);
        }
    }

    /// <summary>Adds the estimate to the routers' gradients.</summary>
    /// <exception cref="InvalidOperationException">Fewer than two passes were taken in.</exception>
    public void AddTo(IEnumerable<Router> routers)
    {
        if (_passes < 2)
            throw new InvalidOperationException($"{_passes} selections; at least two are needed, each is judged against the others");
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var mean = (_total! / _passes).reshape(-1, 1, 1);
        foreach (var router in routers)
        {
            if (router is RlooRouter { Weight: { requires_grad: true } weight } && _sums.TryGetValue(router.Context.Path, out var sums))
                weight.AddToGrad((sums.Weighted - sums.Plain * mean).sum(0L) / (_passes - 1));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _first?.Dispose();
        _total?.Dispose();
        foreach (var (weighted, plain) in _sums.Values)
        {
            weighted.Dispose();
            plain.Dispose();
        }
    }
}
