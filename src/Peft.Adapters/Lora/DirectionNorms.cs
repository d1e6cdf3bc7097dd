namespace Peft.Adapters.Lora;

/// <summary>Norms of the rows of W + s B A, computed again when A or B has changed: what DoRA divides by.</summary>
internal sealed class DirectionNorms : IDisposable
{
    private Tensor? _squares; // of the frozen weight's rows
    private (Tensor Norms, long DownVersion, long UpVersion)? _held;

    /// <summary>The norms; they stay this object's.</summary>
    /// <remarks>Shapes: weight [O, D], down [R, D], up [O, R] → [O]. Gradient: none, as the paper has it.</remarks>
    public Tensor Of(Tensor weight, Parameter down, Parameter up, double scale)
    {
        var (a, b) = (down.Version(), up.Version());
        if (_held is { } held && held.DownVersion == a && held.UpVersion == b)
            return held.Norms;
        _held?.Norms.Dispose();
        _squares ??= Fused.row_squares(weight).DetachFromDisposeScope();
        var norms = Fused.row_norms(weight, _squares, down, up, scale).DetachFromDisposeScope();
        _held = (norms, a, b);
        return norms;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _squares?.Dispose();
        _held?.Norms.Dispose();
    }
}
