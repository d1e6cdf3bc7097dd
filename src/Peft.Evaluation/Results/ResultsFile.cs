using System.Text.Encodings.Web;
using System.Text.Json;
using Peft.Evaluation.Metrics;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Evaluation.Results;

/// <summary>Reads and writes <c>results.json</c>.</summary>
public static class ResultsFile
{
    /// <summary>Name of the file in an evaluation's directory.</summary>
    public const string Name = "results.json";

    private const long LargestFile = 256L << 20; // bytes; recipes, curves and matrices of many subjects take a few million

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        AllowDuplicateProperties = false,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Writes the results, atomically.</summary>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    /// <exception cref="ArgumentException">The results contradict themselves.</exception>
    public static void Save(string path, ResultsDocument results)
    {
        ArgumentNullException.ThrowIfNull(results);
        if (ResultsCheck.FirstFault(results) is { } fault)
            throw new ArgumentException(fault, nameof(results));
        AtomicFile.WriteText(path, ToJson(results));
    }

    /// <summary>The text of the file.</summary>
    public static string ToJson(ResultsDocument results) => JsonSerializer.Serialize(results, Json) + "\n";

    /// <summary>Reads the results.</summary>
    /// <param name="path">The file, or the directory of an evaluation that holds it.</param>
    /// <exception cref="UserException">The file is missing, cut short, no JSON, of another format or version, or contradicts itself.</exception>
    public static ResultsDocument Load(string path)
    {
        var file = PathOf(path);
        ReadOnlySpan<byte> bytes = BoundedFile.ReadAllBytes(file, LargestFile);
        // Some editors put a byte order mark before the text.
        if (bytes.StartsWith("\uFEFF"u8))
            bytes = bytes[3..];
        try
        {
            CheckHeader(file, JsonSerializer.Deserialize<Header>(bytes, Json));
            CheckTokens(bytes);
            var results = JsonSerializer.Deserialize<ResultsDocument>(bytes, Json)!;
            return ResultsCheck.FirstFault(results) is { } fault
                ? throw new UserException($"{file}: {fault} - the file was changed by hand or by another program; run peft eval again")
                : results;
        }
        catch (JsonException e)
        {
            throw new UserException(
                $"{file}: not a whole results file ({JsonFile.Reason(e)}) - a {Name} that peft eval wrote - it may have been cut short: run peft eval again", e);
        }
    }

    /// <summary>The results file that a path means: itself, or the one in the directory.</summary>
    public static string PathOf(string path) => Directory.Exists(path) ? Path.Combine(path, Name) : path;

    private static void CheckHeader(string file, Header? header)
    {
        if (header is not { Format: ResultsDocument.FormatName })
            throw new UserException(
                $"{file}: {(header?.Format is { } format ? $"format {Quote.Of(format)}" : "no format")} - \"{ResultsDocument.FormatName}\" - give a {Name} that peft eval wrote");
        if (header.Version != ResultsDocument.CurrentVersion)
            throw new UserException(
                $"{file}: version {header.Version} of {ResultsDocument.FormatName} - this program reads version {ResultsDocument.CurrentVersion} - "
                + (header.Version > ResultsDocument.CurrentVersion ? "use the newer peft that wrote it" : "run peft eval again"));
    }

    // What the serializer lets pass: null in lists of values, numbers beyond double, and texts of a recipe that are no Unicode.
    private static void CheckTokens(ReadOnlySpan<byte> bytes)
    {
        var reader = new Utf8JsonReader(bytes);
        var arrays = new Stack<bool>();
        var recipeDepth = int.MaxValue;
        while (reader.Read())
        {
            if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
                CheckText(ref reader);
            if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth <= recipeDepth)
                recipeDepth = reader.ValueTextEquals("recipe"u8) ? reader.CurrentDepth : int.MaxValue;
            else if (reader.CurrentDepth < recipeDepth && reader.TokenType is JsonTokenType.EndObject)
                recipeDepth = int.MaxValue;
            if (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.StartObject)
                arrays.Push(reader.TokenType == JsonTokenType.StartArray);
            else if (reader.TokenType is JsonTokenType.EndArray or JsonTokenType.EndObject)
                arrays.Pop();
            else if (reader.TokenType == JsonTokenType.Null && arrays.TryPeek(out var isArray) && isArray && recipeDepth == int.MaxValue)
                throw new JsonException("null in a list");
            else if (reader.TokenType == JsonTokenType.Number && !double.IsFinite(reader.GetDouble()))
                throw new JsonException("a number out of range");
        }
    }

    private static void CheckText(ref Utf8JsonReader reader)
    {
        try
        {
            _ = reader.GetString();
        }
        catch (InvalidOperationException e)
        {
            throw new JsonException("a text that is no Unicode", e);
        }
    }

    private sealed record Header(string? Format = null, int Version = 0);
}
