using Peft.Data.Batches;
using Peft.Data.Tables;

namespace Peft.Data.Tests.Batches;

/// <summary>Short ways to streamed data.</summary>
internal static class Streamed
{
    public const string Text = "\"template\": {\"text\": \"{t}\"}";

    /// <summary>Keys of the data section; no buckets unless said, so that batches show the order of drawing.</summary>
    public static string Keys(int buffer, string more = "\"bucket_window\": 1") =>
        $"\"streaming\": true, \"shuffle_buffer_size\": {buffer}, {more}";

    /// <summary>A data set of one file.</summary>
    public static string Set(string file, string more = "") =>
        $"{{\"files\": {(file[0] == '[' ? file : $"\"{file}\"")}, {Text}{(more == "" ? "" : ", " + more)}}}";

    /// <summary>Rows of between 1 and 60 characters, written as the file's name says.</summary>
    public static void Rows(this TempFolder folder, string name, int rows)
    {
        if (name.EndsWith(".parquet", StringComparison.Ordinal))
            folder.WriteParquet(
                name, 11, ("t", Texts(rows).ToArray()),
                ("n", Enumerable.Range(0, rows).Select(row => (long)row).ToArray()));
        else if (name.EndsWith(".jsonl", StringComparison.Ordinal))
            folder.Write(
                name, string.Concat(Texts(rows).Select((text, row) => $"{{\"t\": \"{text}\", \"n\": {row}}}\n")));
        else
            folder.Write(name, "t,n\n" + string.Concat(Texts(rows).Select((text, row) => $"{text},{row}\n")));
    }

    public static List<TokenBatch> Take(BatchStream stream, int count)
    {
        var batches = new List<TokenBatch>();
        for (var at = 0; at < count; at++)
            batches.Add(stream.Next());
        return batches;
    }

    /// <summary>The rows of the next batches, as drawn.</summary>
    public static List<RowId> Order(BatchStream stream, int batches) =>
        [.. Take(stream, batches).SelectMany(batch => batch.Rows)];

    private static IEnumerable<string> Texts(int rows) =>
        Enumerable.Range(0, rows).Select(row => new string((char)('a' + row % 26), 1 + row * 37 % 60));
}
