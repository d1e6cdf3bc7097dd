using Peft.Data.Batches;
using Peft.Data.Examples;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Tests;

/// <summary>Short ways to what tests need.</summary>
internal static class Given
{
    public const int Bos = 1;
    public const int Eos = 2;

    /// <summary>One token a character (its code), BOS 1, EOS 2, padding 0.</summary>
    public static TextEncoder Characters { get; } = new(text => [.. text.Select(c => (int)c)], [Bos], [Eos], 0);

    /// <summary>The same with the places of tokens; EOS may be spelled out as '>', and BOS as '<'.</summary>
    public static TextEncoder Talks { get; } = Characters with
    {
        Locate = text => [.. text.Select((c, at) => new LocatedToken(c switch
        {
            '<' => Bos,
            '>' => Eos,
            _ => c,
        }, at, at + 1))],
        IsSpecial = id => id is Bos or Eos,
    };

    public static TextEncoder NoSpecials { get; } = Characters with { Prefix = [] };

    public static DataOptions Options(string json)
    {
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(json, "recipe.json"), "data", faults);
        var options = DataOptions.Read(reader);
        reader.Finish();
        faults.ThrowIfAny("recipe.json");
        return options;
    }

    /// <summary>Options with one training set; <paramref name="more"/> are further keys of the section.</summary>
    public static DataOptions Train(string set, string more = "") =>
        Options($"{{\"train\": [{set}]{(more == "" ? "" : ", " + more)}}}");

    public static DataSetReader Reader(TempFolder folder, string set)
    {
        var faults = new Faults();
        var reader = DataSetReader.Open(Train(set).Train[0], folder.Path, faults);
        faults.ThrowIfAny("data");
        return reader;
    }

    public static TrainingData Open(TempFolder folder, DataOptions options) =>
        TrainingData.Open(options, Characters, folder.Path);

    public static string Text(IEnumerable<int> ids) => string.Concat(ids.Select(id => id switch
    {
        0 => "_",
        Bos => "<",
        Eos => ">",
        TokenBatch.Ignored => ".",
        _ => ((char)id).ToString(),
    }));
}
