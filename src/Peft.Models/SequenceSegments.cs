namespace Peft.Models;

/// <summary>Which tokens of a packed batch belong to which sequence. A sequence sees itself alone, and its positions begin at 0.</summary>
/// <remarks>S sequences share B rows of T tokens; what is in none of them is padding.</remarks>
public sealed class SequenceSegments
{
    private readonly long[] _borders;
    private readonly long _rows;
    private readonly long _length;

    /// <summary>Makes the segments of B rows of T tokens.</summary>
    /// <param name="rows">B.</param>
    /// <param name="length">T.</param>
    /// <param name="borders">First token and end of each sequence, in order, in the flattened B·T tokens: [2·S].</param>
    public SequenceSegments(long rows, long length, IEnumerable<long> borders)
    {
        (_rows, _length, _borders) = (rows, length, [.. borders]);
        if (_borders.Length == 0)
            throw new ArgumentException("a packed batch has no sequence", nameof(borders));
    }

    /// <summary>Number of sequences S.</summary>
    public int Count => _borders.Length / 2;

    /// <summary>First token and end of each sequence in the flattened B·T tokens.</summary>
    public ReadOnlySpan<long> Borders => _borders;

    /// <summary>Place of each token in its sequence; 0 for padding.</summary>
    /// <remarks>Shapes: → [B, T] int64.</remarks>
    public Tensor Positions(Device device) => PerToken((_, place) => place, device);

    /// <summary>Index of each token's sequence, to take what is known of each sequence (<c>index_select</c>) or to sum over its
    /// tokens (<c>index_add</c>); padding has 0 and is told apart by the token mask.</summary>
    /// <remarks>Shapes: → [B, T] int64, 0 to S − 1.</remarks>
    public Tensor SequenceIds(Device device) => PerToken((sequence, _) => sequence, device);

    /// <summary>Throws where the ids of a forward have another shape than these segments.</summary>
    public void Check(Tensor ids)
    {
        if (ids.shape[0] != _rows || ids.shape[1] != _length)
            throw new ArgumentException($"segments are of [{_rows}, {_length}] tokens, ids are [{ids.shape[0]}, {ids.shape[1]}]", nameof(ids));
    }

    private Tensor PerToken(Func<long, long, long> value, Device device)
    {
        var values = new long[_rows * _length];
        for (var sequence = 0; sequence < Count; sequence++)
        {
            var first = _borders[2 * sequence];
            for (var at = first; at < _borders[(2 * sequence) + 1]; at++)
                values[at] = value(sequence, at - first);
        }
        return torch.tensor(values, [_rows, _length], device: device);
    }
}
