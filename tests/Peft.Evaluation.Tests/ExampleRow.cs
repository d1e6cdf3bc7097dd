using System.Text.Json.Serialization;
using Parquet;
using Parquet.Data;
using Parquet.Schema;
using Parquet.Serialization;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Tests;

/// <summary>A row of examples.parquet, as the library that reads Parquet maps it by itself.</summary>
public sealed class ExampleRow
{
    [JsonPropertyName("subject")]
    public string? Subject { get; set; }

    [JsonPropertyName("task")]
    public string? Task { get; set; }

    [JsonPropertyName("row")]
    public long? Row { get; set; }

    [JsonPropertyName("prompt")]
    public string? Prompt { get; set; }

    [JsonPropertyName("prediction")]
    public string? Prediction { get; set; }

    [JsonPropertyName("answer")]
    public string? Answer { get; set; }

    [JsonPropertyName("score")]
    public double? Score { get; set; }

    [JsonIgnore]
    public List<double?>? LogLikelihoods { get; set; }

    /// <summary>All rows of a file.</summary>
    public static async Task<IReadOnlyList<ExampleRow>> Of(string path)
    {
        var rows = (await ParquetSerializer.DeserializeAsync<ExampleRow>(path)).Data;
        var lists = new List<List<double?>>();
        await using var reader = await ParquetReader.CreateAsync(path);
        for (var i = 0; i < reader.RowGroupCount; i++)
        {
            using var group = reader.OpenRowGroupReader(i);
            lists.AddRange(await Lists(group, reader.Schema.DataFields.Last()));
        }
        return [.. rows.Zip(lists, (row, list) => (row.LogLikelihoods = list, row).row)];
    }

    // The mapping drops what is missing from a list; the levels tell: 3 a number, 2 none in its place, 1 an empty list.
    private static async Task<List<List<double?>>> Lists(ParquetRowGroupReader group, DataField field)
    {
        using var column = (RawColumnData<double>)await group.ReadRawColumnDataBaseAsync(field);
        var lists = new List<List<double?>>();
        var definitions = column.DefinitionLevels.ToArray();
        var repetitions = column.RepetitionLevels.ToArray();
        var at = 0;
        for (var i = 0; i < definitions.Length; i++)
        {
            if (repetitions[i] == 0)
                lists.Add([]);
            if (definitions[i] > 1)
                lists[^1].Add(definitions[i] == 3 ? column.Values[at++] : null);
        }
        return lists;
    }
}
