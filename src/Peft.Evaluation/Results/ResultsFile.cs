using System.Text.Encodings.Web;
using System.Text.Json;
using Peft.Evaluation.Metrics;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Evaluation.Results;

/// <summary>Reads and writes <c>results.json</c>.</summary>
public static class ResultsFile
{
    /// <summary>
    /// Name of the file in an evaluation's directory, and beside a bundle that was measured after training.
    /// </summary>
    public const string Name = "results.json";

    /// <summary>Name under which earlier versions wrote the results of training beside a bundle.</summary>
    public const string EarlierName = "evaluation.json";

    // Bytes; recipes, curves and matrices of many subjects take a few million.
    private const long LargestFile = 256L << 20;

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
        if (ResultsCheck.FirstFault(results) is { } fault)
            throw new ArgumentException(fault.ToString(), nameof(results));
        AtomicFile.WriteText(path, ToJson(results));
    }

    /// <summary>The text of the file.</summary>
    public static string ToJson(ResultsDocument results) => JsonSerializer.Serialize(results, Json) + "\n";

    /// <summary>Reads the results.</summary>
    /// <param name="path">The file, or the directory of an evaluation or bundle that holds it.</param>
    /// <exception cref="UserException">The file is missing, cut short, no JSON, of another format or version, or
    /// contradicts itself.</exception>
    public static ResultsDocument Load(string path)
    {
        var file = PathOf(path);
        if (!File.Exists(file))
            throw UserException.At(file, "no such file", $"a {Name} that peft eval or peft train wrote");
        var bytes = BoundedFile.ReadAllBytes(file, LargestFile);
        try
        {
            var header = JsonFile.Parse<Header>(bytes, Json);
            CheckTokens(bytes);
            if (header is { Format: null, FormatVersion: EarlierResults.CurrentVersion })
                return Checked(file, JsonFile.Parse<EarlierResults>(bytes, Json).ToDocument());
            CheckHeader(file, header);
            return Checked(file, JsonFile.Parse<ResultsDocument>(bytes, Json));
        }
        catch (JsonException e)
        {
            throw UserException.At(
                file, $"not a whole results file ({JsonFile.Reason(e)})",
                $"a {Name} that peft eval or peft train wrote",
                "it may have been cut short: measure again", e);
        }
    }

    /// <summary>The results file that a path means: itself, or the one in the directory.</summary>
    public static string PathOf(string path) =>
        !Directory.Exists(path) ? path
        : Path.Combine(path, Name) is var file && !File.Exists(file) && File.Exists(Path.Combine(path, EarlierName))
            ? Path.Combine(path, EarlierName) : file;

    private static ResultsDocument Checked(string file, ResultsDocument results) =>
        ResultsCheck.FirstFault(results) is { } fault
        ? throw UserException.At(
            $"{file}: {fault.Place}", fault.Found, fault.Expected,
            "the file was changed by hand or by another program: measure again")
        : results;

    private static void CheckHeader(string file, Header header)
    {
        if (header.Format != ResultsDocument.FormatName)
            throw UserException.At(
                file, header.Format is { } format ? $"format {Quote.Of(format)}" : "no format",
                $"\"{ResultsDocument.FormatName}\"", $"give a {Name} that peft eval or peft train wrote");
        if (header.Version != ResultsDocument.CurrentVersion)
            throw UserException.At(
                file, $"version {header.Version} of {ResultsDocument.FormatName}",
                $"version {ResultsDocument.CurrentVersion}",
                header.Version > ResultsDocument.CurrentVersion ? "use the newer peft that wrote it" : "measure again");
    }

    // What the serializer lets pass: null in lists of values, and numbers beyond double.
    private static void CheckTokens(ReadOnlySpan<byte> bytes)
    {
        var reader = new Utf8JsonReader(bytes.StartsWith("\uFEFF"u8) ? bytes[3..] : bytes);
        var arrays = new Stack<bool>();
        var recipeDepth = int.MaxValue;
        while (reader.Read())
        {
            if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth <= recipeDepth)
                recipeDepth = reader.ValueTextEquals("recipe"u8) ? reader.CurrentDepth : int.MaxValue;
            else if (reader.CurrentDepth < recipeDepth && reader.TokenType is JsonTokenType.EndObject)
                recipeDepth = int.MaxValue;
            if (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.StartObject)
                arrays.Push(reader.TokenType == JsonTokenType.StartArray);
            else if (reader.TokenType is JsonTokenType.EndArray or JsonTokenType.EndObject)
                arrays.Pop();
            else if (
                reader.TokenType == JsonTokenType.Null && arrays.TryPeek(out var isArray) && isArray
                    && recipeDepth == int.MaxValue)
                throw new JsonException("null in a list");
            else if (reader.TokenType == JsonTokenType.Number && !double.IsFinite(reader.GetDouble()))
                throw new JsonException("a number out of range");
        }
    }

    private sealed record Header(string? Format = null, int Version = 0, int FormatVersion = 0);

    /// <summary>
    /// What earlier versions wrote as evaluation.json: one model's numbers, and nothing of how they were made.
    /// </summary>
    private sealed record EarlierResults(string Model, long TrainableParameters, IReadOnlyList<EarlierTask> Tasks)
    {
        public const int CurrentVersion = 1;

        public ResultsDocument ToDocument() => new(
            "", "", ResultsSettings.Unknown, new("", ""),
            [new(Model, Subject.AdapterKind, "", null, null, null, TrainableParameters, null, null, 0, null, null)],
            [.. Tasks.Select(task => new MeasuredTask(
                task.Task, "generation", "", task.Rows, "", 0, 0, 0,
                [new(task.Metric, task.HigherIsBetter, true, "")]))],
            [.. Tasks.Select(task => new Score(Model, task.Task, task.Metric, task.Value, null, null, task.Rows))], [],
            []);
    }

    private sealed record EarlierTask(string Task, string Metric, bool HigherIsBetter, double Value, int Rows);
}
