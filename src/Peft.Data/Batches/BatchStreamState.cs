using System.Text;
using System.Text.Json;

namespace Peft.Data.Batches;

/// <summary>A place in the stream of batches: small, and enough to go on bit for bit with the same data and settings.</summary>
/// <param name="Seed">The seed of the order.</param>
/// <param name="BatchSize">Rows in a batch.</param>
/// <param name="BucketWindow">Batches in a window of like lengths.</param>
/// <param name="RowLength">Tokens of a packed row; 0 without packing.</param>
/// <param name="Sequences">How many sequences there are.</param>
/// <param name="DataSha256">Hash of the data files.</param>
/// <param name="Epoch">The epoch, from 0.</param>
/// <param name="Window">The window in the epoch, from 0.</param>
/// <param name="Batch">The next batch in the window, from 0.</param>
/// <param name="Drawn">Sequences drawn of each weighted data set before the window; empty without weights.</param>
public sealed record BatchStreamState(
    long Seed, int BatchSize, int BucketWindow, int RowLength, long Sequences, string DataSha256, long Epoch, long Window, int Batch,
    IReadOnlyList<long> Drawn)
{
    /// <summary>One line of JSON.</summary>
    public string ToJson()
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteNumber("seed", Seed);
            json.WriteNumber("batch_size", BatchSize);
            json.WriteNumber("bucket_window", BucketWindow);
            json.WriteNumber("row_length", RowLength);
            json.WriteNumber("sequences", Sequences);
            json.WriteString("data_sha256", DataSha256);
            json.WriteNumber("epoch", Epoch);
            json.WriteNumber("window", Window);
            json.WriteNumber("batch", Batch);
            json.WriteStartArray("drawn");
            foreach (var count in Drawn)
                json.WriteNumberValue(count);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    /// <summary>Reads what <see cref="ToJson"/> wrote.</summary>
    /// <exception cref="BatchStateException">It is something else.</exception>
    public static BatchStreamState Parse(string json)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            var root = document.RootElement;
            return new BatchStreamState(
                root.GetProperty("seed").GetInt64(),
                root.GetProperty("batch_size").GetInt32(),
                root.GetProperty("bucket_window").GetInt32(),
                root.GetProperty("row_length").GetInt32(),
                root.GetProperty("sequences").GetInt64(),
                root.GetProperty("data_sha256").GetString()!,
                root.GetProperty("epoch").GetInt64(),
                root.GetProperty("window").GetInt64(),
                root.GetProperty("batch").GetInt32(),
                [.. root.GetProperty("drawn").EnumerateArray().Select(count => count.GetInt64())]);
        }
        catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new BatchStateException(
                $"data position - {error.Message} - what a checkpoint of this program holds - resume from another checkpoint", error);
        }
    }
}
