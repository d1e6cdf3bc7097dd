using Peft.Chat;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Data;

/// <summary>What a model will see of the first rows of each training data set: tokens, and which of them are
/// learned.</summary>
/// <param name="Sequences">The first sequences of each data set.</param>
/// <param name="DataSets">Counts over the rows that were read for them.</param>
public sealed record DataPreview(IReadOnlyList<PreviewRow> Sequences, IReadOnlyList<DataStatistics> DataSets)
{
    /// <summary>Reads only as far as needed.</summary>
    /// <param name="options">The recipe's section.</param>
    /// <param name="encoder">How the model's texts are encoded.</param>
    /// <param name="tokenizer">The base model's tokenizer, to show tokens.</param>
    /// <param name="baseDirectory">The folder that relative paths start from.</param>
    /// <param name="rows">Sequences of each data set.</param>
    /// <param name="template">Finds the chat template, where one is needed.</param>
    /// <exception cref="UserException">Files, columns, rows or settings are wrong; the message says which.</exception>
    public static DataPreview Read(
        DataOptions options, TextEncoder encoder, HuggingFaceTokenizer tokenizer, string baseDirectory,
        int rows, Func<ChatTemplate>? template = null) => Read(
        options,
        encoder,
        id => new PreviewToken(id, tokenizer.IdToToken(id) ?? $"#{id}", tokenizer.IsSpecial(id), IsLearned: false),
        baseDirectory,
        rows,
        template);

    internal static DataPreview Read(
        DataOptions options, TextEncoder encoder, Func<int, PreviewToken> show, string baseDirectory, int rows,
        Func<ChatTemplate>? template = null)
    {
        var faults = new Faults();
        TrainingData.Check(options, encoder, faults);
        var readers = options.Train.Select(set => DataSetReader.Open(set, baseDirectory, faults, template)).ToList();
        TrainingData.CheckConversations(options, readers, faults);
        faults.ThrowIfAny("the data section");
        var tasks = new TaskRegistry(options.Train);
        var sequences = new List<PreviewRow>();
        var statistics = new List<DataStatistics>();
        foreach (var reader in readers)
        {
            var source = new SequenceReader(reader, options, encoder, tasks);
            foreach (var sequence in source.Read(readAhead: 1).Take(rows))
            {
                sequences.Add(new PreviewRow(
                    reader.Options.Name,
                    sequence.Row,
                    tasks.Names[sequence.TaskId],
                    [.. sequence.Ids.Select((id, at) => show(id) with { IsLearned = sequence.IsLearned(at) })],
                    sequence.CutTokens)
                {
                    CutTurns = sequence.CutTurns,
                    Roles = sequence.Roles,
                });
            }

            statistics.Add(source.Statistics);
        }

        return new DataPreview(sequences, statistics);
    }
}

/// <summary>One sequence, to be looked at.</summary>
/// <param name="DataSet">Its data set.</param>
/// <param name="Row">Its row.</param>
/// <param name="Task">Its task.</param>
/// <param name="Tokens">Its tokens.</param>
/// <param name="CutTokens">How many were left out to fit max_length.</param>
public sealed record PreviewRow(
    string DataSet, RowId Row, string Task, IReadOnlyList<PreviewToken> Tokens, int CutTokens)
{
    /// <summary>The roles of its messages; empty where it is no conversation.</summary>
    public IReadOnlyList<string> Roles { get; init; } = [];

    /// <summary>Turns of a conversation that were left out to fit max_length.</summary>
    public int CutTurns { get; init; }

    /// <summary>How many tokens the loss counts.</summary>
    public int LearnedTokens => Tokens.Count(token => token.IsLearned);
}

/// <summary>One token, to be looked at.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Text">Its text in the vocabulary.</param>
/// <param name="IsSpecial">Whether it is a special token such as BOS.</param>
/// <param name="IsLearned">Whether the loss counts it.</param>
public sealed record PreviewToken(int Id, string Text, bool IsSpecial, bool IsLearned);
