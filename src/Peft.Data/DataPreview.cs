using Peft.Data.Examples;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Data;

/// <summary>What a model will see of the first rows of each training data set: tokens, and which of them are learned.</summary>
/// <param name="Sequences">The first sequences of each data set.</param>
/// <param name="DataSets">Counts over the rows that were read for them.</param>
public sealed record DataPreview(IReadOnlyList<PreviewSequence> Sequences, IReadOnlyList<DataStatistics> DataSets)
{
    /// <summary>Reads only as far as needed.</summary>
    /// <param name="options">The recipe's section.</param>
    /// <param name="tokenizer">The base model's tokenizer.</param>
    /// <param name="baseDirectory">The folder that relative paths start from.</param>
    /// <param name="rows">Sequences of each data set.</param>
    /// <param name="endId">The model's eos_token_id, for a tokenizer that names no end-of-text token.</param>
    /// <exception cref="UserException">Files, columns, rows or settings are wrong; the message says which.</exception>
    public static DataPreview Read(DataOptions options, HuggingFaceTokenizer tokenizer, string baseDirectory, int rows, int? endId = null) => Read(
        options,
        TextEncoder.Of(tokenizer, endId),
        id => new PreviewToken(id, tokenizer.IdToToken(id) ?? $"#{id}", tokenizer.IsSpecial(id), IsLearned: false),
        baseDirectory,
        rows);

    internal static DataPreview Read(
        DataOptions options, TextEncoder encoder, Func<int, PreviewToken> show, string baseDirectory, int rows)
    {
        var faults = new Faults();
        TrainingData.Check(options, encoder, faults);
        var readers = options.Train.Select(set => DataSetReader.Open(set, baseDirectory, faults)).ToList();
        faults.ThrowIfAny("the data section");
        var tasks = new TaskRegistry(options.Train);
        var files = new List<string>();
        var sequences = new List<PreviewSequence>();
        var statistics = new List<DataStatistics>();
        foreach (var reader in readers)
        {
            var source = new SequenceReader(reader, options, encoder, tasks);
            foreach (var sequence in source.Read(Register, readAhead: 1).Take(rows))
                sequences.Add(Show(sequence.ToTokenSequence(files), reader.Options, tasks, show));
            statistics.Add(source.Statistics);
        }

        return new DataPreview(sequences, statistics);

        int Register(string name)
        {
            if (!files.Contains(name))
                files.Add(name);
            return files.IndexOf(name);
        }
    }

    private static PreviewSequence Show(
        TokenSequence sequence, DataSetOptions set, TaskRegistry tasks, Func<int, PreviewToken> show) => new(
        set.Name,
        sequence.Row,
        tasks.Names[sequence.TaskId],
        [.. sequence.Ids.Select((id, at) => show(id) with { IsLearned = sequence.Learned[at] })],
        sequence.CutTokens);
}
