namespace Peft.Data.Batches;

/// <summary>What an epoch's batches come to, counted without building them.</summary>
/// <param name="Sequences">Sequences.</param>
/// <param name="Rows">Rows of all batches.</param>
/// <param name="Batches">Batches.</param>
/// <param name="Tokens">Real tokens.</param>
/// <param name="Positions">Tokens with padding: what is computed.</param>
public sealed record EpochShape(long Sequences, long Rows, long Batches, long Tokens, long Positions)
{
    /// <summary>Sequences of a row, on average.</summary>
    public double SequencesPerRow => Sequences / (double)Math.Max(1, Rows);

    /// <summary>Share of the positions that hold a real token.</summary>
    public double Fill => Tokens / (double)Math.Max(1, Positions);

    /// <summary>Positions that hold none.</summary>
    public long Padding => Positions - Tokens;
}
