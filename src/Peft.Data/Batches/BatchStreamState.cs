using System.Text.Json;
using Peft.Formats;

namespace Peft.Data.Batches;

/// <summary>A place in the stream of batches: small, and enough to go on bit for bit with the same data and
/// settings.</summary>
/// <param name="Seed">The seed of the order.</param>
/// <param name="BatchSize">Rows in a batch.</param>
/// <param name="BucketWindow">Batches in a window of like lengths.</param>
/// <param name="RowLength">Tokens of a packed row; 0 without packing.</param>
/// <param name="Sequences">How many sequences there are; 0 where streaming and only reading tells.</param>
/// <param name="DataSha256">Hash of the data files.</param>
/// <param name="Epoch">The epoch, from 0.</param>
/// <param name="Window">The window in the epoch, from 0.</param>
/// <param name="Batch">The next batch in the window, from 0.</param>
/// <param name="Drawn">Sequences drawn of each weighted data set before the window; empty without weights, and where
/// streaming.</param>
/// <param name="Stream">Where reading stands before the window; null unless streaming.</param>
public sealed record BatchStreamState(
    long Seed, int BatchSize, int BucketWindow, int RowLength, long Sequences, string DataSha256, long Epoch,
    long Window, int Batch,
    IReadOnlyList<long> Drawn, StreamPosition? Stream = null)
{
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        RespectRequiredConstructorParameters = true,
        RespectNullableAnnotations = true,
    };

    /// <summary>One line of JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, Json);

    /// <summary>Reads what <see cref="ToJson"/> wrote.</summary>
    /// <exception cref="UserException">It is something else.</exception>
    public static BatchStreamState Parse(string json)
    {
        try
        {
            return JsonSerializer.Deserialize<BatchStreamState>(json, Json) ?? throw new JsonException("it is null");
        }
        catch (JsonException error)
        {
            throw UserException.At(
                "data position", error.Message.TrimEnd('.'), "what a checkpoint of this program holds",
                "resume from another checkpoint",
                error);
        }
    }
}

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
