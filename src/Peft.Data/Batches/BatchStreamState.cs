using System.Text.Json;

namespace Peft.Data.Batches;

/// <summary>A place in the stream of batches: small, and enough to go on bit for bit with the same data and settings.</summary>
/// <param name="Seed">The seed of the order.</param>
/// <param name="BatchSize">Rows in a batch.</param>
/// <param name="BucketWindow">Batches in a window of like lengths.</param>
/// <param name="RowLength">Tokens of a packed row; 0 without packing.</param>
/// <param name="Sequences">How many sequences there are; 0 where streaming and only reading tells.</param>
/// <param name="DataSha256">Hash of the data files.</param>
/// <param name="Epoch">The epoch, from 0.</param>
/// <param name="Window">The window in the epoch, from 0.</param>
/// <param name="Batch">The next batch in the window, from 0.</param>
/// <param name="Drawn">Sequences drawn of each weighted data set before the window; empty without weights, and where streaming.</param>
/// <param name="Stream">Where reading stands before the window; null unless streaming.</param>
public sealed record BatchStreamState(
    long Seed, int BatchSize, int BucketWindow, int RowLength, long Sequences, string DataSha256, long Epoch, long Window, int Batch,
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
    /// <exception cref="BatchStateException">It is something else.</exception>
    public static BatchStreamState Parse(string json)
    {
        try
        {
            return JsonSerializer.Deserialize<BatchStreamState>(json, Json) ?? throw new JsonException("it is null");
        }
        catch (JsonException error)
        {
            throw new BatchStateException(
                $"data position - {error.Message} - what a checkpoint of this program holds - resume from another checkpoint", error);
        }
    }
}
