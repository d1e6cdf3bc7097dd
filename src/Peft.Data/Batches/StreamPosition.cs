namespace Peft.Data.Batches;

/// <summary>Where reading stands when <c>streaming: true</c>: small, whatever the data.</summary>
/// <param name="ShuffleBufferSize">Rows of a block.</param>
/// <param name="Place">Sequences drawn in this epoch before the window.</param>
/// <param name="Sets">The place in each data set, in the recipe's order.</param>
public sealed record StreamPosition(int ShuffleBufferSize, long Place, IReadOnlyList<RowPosition> Sets);

/// <summary>The place in a data set that is read in blocks.</summary>
/// <param name="Pass">Its pass over the data set, from 0.</param>
/// <param name="Block">The block in the pass, from 0.</param>
/// <param name="File">The file that the block begins in, by its index in the data set.</param>
/// <param name="Row">Rows of that file before the block, those that a filter leaves out counted too.</param>
/// <param name="Index">Rows of the block, in its random order, that were drawn.</param>
/// <param name="Piece">Sequences of the next row that were drawn: a long text has several with packing.</param>
public sealed record RowPosition(long Pass, long Block, int File, long Row, int Index, int Piece)
{
    /// <summary>The beginning of a pass.</summary>
    public static RowPosition StartOf(long pass) => new(pass, 0, 0, 0, 0, 0);
}
