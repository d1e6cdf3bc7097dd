using Peft.Data.Batches;
using Peft.Data.Examples;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Data;

/// <summary>The <c>data:</c> section of a recipe.</summary>
public sealed record DataOptions : BatchOptions
{
    /// <summary>What is trained on.</summary>
    public IReadOnlyList<DataSetOptions> Train { get; init; } = [];

    /// <summary>What the loss is measured on while training.</summary>
    public IReadOnlyList<DataSetOptions> Eval { get; init; } = [];

    /// <summary>The <c>on_bad_row</c> of data sets that have none of their own.</summary>
    [Key]
    public BadRowPolicy OnBadRow { get; init; }

    /// <summary>Names of the data sets that are trained on; empty for all. So one recipe of several data sets can train
    /// on each by itself.</summary>
    [Key]
    public IReadOnlyList<string> Only { get; init; } = [];

    /// <summary>The chat template of conversations: its text, a file, or a name (<see
    /// cref="Chat.TemplateCatalog"/>); null for the checkpoint's own.</summary>
    [Key]
    public string? ChatTemplate { get; init; }

    /// <summary>Keys of this section that do nothing as things are.</summary>
    public IEnumerable<IneffectiveKey> Ineffective()
    {
        var first = new DataOptions();
        var isWeighted = Train.Any(set => set.Weight is not null);
        return
        [
            .. IneffectiveKey.If(!Shuffle && !isWeighted, "seed", Seed, first.Seed, "shuffle: false"),
            .. IneffectiveKey.If(
                !Shuffle && !Packing, "bucket_window", BucketWindow, first.BucketWindow, "shuffle: false"),
            .. IneffectiveKey.If(
                Train.Count > 0 && Train.All(set => set.IsText), "train_on_prompt", TrainOnPrompt, first.TrainOnPrompt,
                "text templates, which are learned whole"),
            .. Eval.Index().SelectMany(set => IneffectiveKey.If(
                true, $"eval[{set.Index}].weight", set.Item.Weight, null, "held-out rows, which are all measured")),
            .. IneffectiveKey.If(
                !Streaming, "shuffle_buffer_size", ShuffleBufferSize, first.ShuffleBufferSize, "streaming: false"),
            .. IneffectiveKey.If(
                !Packing, "packing_strategy", PackingStrategy, first.PackingStrategy, "packing: false"),
        ];
    }

    /// <summary>Reads the section; what is wrong goes to the reader's faults.</summary>
    public static DataOptions Read(OptionReader reader)
    {
        var options = reader.Bind(new DataOptions());
        List<DataSetOptions> train =
            [.. reader.Sections("train").Select(section => DataSetOptions.Read(section, options.OnBadRow))];
        options = options with
        {
            Train = options.Only.Count == 0 ? train : train.FindAll(set => options.Only.Contains(set.Name)),
            Eval =
                [.. reader.Sections("eval").Select(section => DataSetOptions.Read(section, options.OnBadRow, train))],
        };
        foreach (var name in options.Only.Where(name => !train.Exists(set => set.Name == name)))
            reader.Fault(
                "only", Quote.Of(name),
                "names of data sets under train: " + Words.AllOf(train.ConvertAll(set => set.Name)),
                NearestName.Question(name, train.Select(set => set.Name)));
        if (options.IsWrapped && options.Train.Count > 0 && !options.Train.Any(set => set.IsText))
        {
            reader.Fault(
                "packing_strategy", "wrapped, with prompts and answers only", "a data set with a `text` template",
                "use packing_strategy: bfd");
        }

        if (options.Streaming && options.IsWrapped)
            reader.Fault("packing_strategy", "wrapped with streaming: true", "bfd", "or set streaming: false");
        foreach (var set in options.Train.Where(set => options.Streaming && set.TaskColumn is not null))
        {
            reader.Faults.Add(
                $"{set.Place}.task_column", $"{set.TaskColumn} with streaming: true",
                "task, since the tasks must be known before the first row",
                "make a data set of each task, with `filter:` and `task:`");
        }

        return options;
    }
}
