using Peft.Models;

namespace Peft.Adapters.Merging;

/// <summary>The sum of a module's input over the real tokens of a pass.</summary>
/// <param name="Path">The module.</param>
/// <param name="Sum">[D] float64.</param>
/// <param name="Tokens">How many tokens.</param>
public sealed record InputSum(string Path, Tensor Sum, long Tokens) : IPassRecord
{
    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => [Sum];
}

/// <summary>A projection that tells the sum of its inputs and computes what the wrapped one does.</summary>
public sealed class InputProbe : Projection
{
    private readonly Projection _wrapped;

    /// <summary>Wraps a projection.</summary>
    public InputProbe(Projection wrapped)
        : base((wrapped ?? throw new ArgumentNullException(nameof(wrapped))).Path, wrapped.InFeatures,
            wrapped.OutFeatures)
    {
        _wrapped = wrapped;
        RegisterModule("wrapped", wrapped);
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x, ForwardPass pass)
    {
        using (torch.no_grad())
        {
            var rows = x.detach().reshape(-1, InFeatures).to(torch.float64);                   // [N, D]
            var mask = pass.TokenMask?.reshape(-1, 1).to(torch.float64);
            pass.Emit(new InputSum(
                Path, (mask is null ? rows : rows * mask).sum(0L), mask is null
                    ? rows.shape[0]
                    : (long)mask.sum().ToDouble()));
        }
        return _wrapped.Forward(x, pass);
    }
}
