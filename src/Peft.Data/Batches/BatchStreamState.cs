using System.Text.Json;
using Peft.Data.Tokens;
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
    /// <summary>What became of the rows before the place; those read are the whole block's from its first draw
    /// on.</summary>
    public StreamCounts Counts { get; init; } = new();

    /// <summary>The beginning of a pass.</summary>
    public static RowPosition StartOf(long pass) => new(pass, 0, 0, 0, 0, 0);
}

/// <summary>What became of rows that were read while training, over all passes.</summary>
/// <param name="Rows">Rows read, blocks at a time.</param>
/// <param name="FilteredRows">Those that the filter left out.</param>
/// <param name="BadRows">Those skipped as unusable.</param>
/// <param name="DrawnRows">Rows that were drawn and encoded.</param>
/// <param name="LongRows">Those skipped because the answer is longer than max_length.</param>
/// <param name="UnlearnableRows">Those skipped because there is nothing to learn of a single token.</param>
/// <param name="Sequences">Sequences made.</param>
/// <param name="Tokens">Tokens in them.</param>
/// <param name="LearnedTokens">Tokens that the loss counts.</param>
/// <param name="CutTokens">Tokens left out to fit max_length.</param>
/// <param name="CutSequences">Sequences that lost tokens.</param>
/// <param name="CutTurns">Turns of conversations left out to fit max_length.</param>
/// <param name="CutConversations">Conversations that lost turns.</param>
public sealed record StreamCounts(
    long Rows = 0, long FilteredRows = 0, long BadRows = 0, long DrawnRows = 0, long LongRows = 0,
    long UnlearnableRows = 0, long Sequences = 0, long Tokens = 0, long LearnedTokens = 0, long CutTokens = 0,
    long CutSequences = 0, long CutTurns = 0, long CutConversations = 0)
{
    /// <summary>Both together.</summary>
    public static StreamCounts operator +(StreamCounts one, StreamCounts other) => new(
        one.Rows + other.Rows, one.FilteredRows + other.FilteredRows, one.BadRows + other.BadRows,
        one.DrawnRows + other.DrawnRows, one.LongRows + other.LongRows, one.UnlearnableRows + other.UnlearnableRows,
        one.Sequences + other.Sequences, one.Tokens + other.Tokens, one.LearnedTokens + other.LearnedTokens,
        one.CutTokens + other.CutTokens, one.CutSequences + other.CutSequences, one.CutTurns + other.CutTurns,
        one.CutConversations + other.CutConversations);

    /// <summary>With one more sequence.</summary>
    internal StreamCounts With(TokenSequence sequence) => this with
    {
        Sequences = Sequences + 1,
        Tokens = Tokens + sequence.Ids.Length,
        LearnedTokens = LearnedTokens + sequence.LearnedTokens,
        CutTokens = CutTokens + sequence.CutTokens,
        CutSequences = CutSequences + (sequence.CutTokens > 0 ? 1 : 0),
        CutTurns = CutTurns + sequence.CutTurns,
        CutConversations = CutConversations + (sequence.CutTurns > 0 ? 1 : 0),
    };
}
