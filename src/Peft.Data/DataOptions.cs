using Peft.Data.Examples;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Data;

/// <summary>The <c>data:</c> section of a recipe.</summary>
public sealed record DataOptions
{
    /// <summary>What is trained on.</summary>
    public IReadOnlyList<DataSetOptions> Train { get; init; } = [];

    /// <summary>What the loss is measured on while training.</summary>
    public IReadOnlyList<DataSetOptions> Eval { get; init; } = [];

    /// <summary>Tokens of the longest sequence.</summary>
    public int MaxLength { get; init; } = 512;

    /// <summary>Whether training sequences come in random order; if not, as the files have them.</summary>
    public bool Shuffle { get; init; } = true;

    /// <summary>Seed of the order; null for the seed of the run.</summary>
    public long? Seed { get; init; }

    /// <summary>Whether training sequences share rows of <see cref="MaxLength"/> tokens; plain texts longer than that are then
    /// continued in further sequences.</summary>
    public bool Packing { get; init; }

    /// <summary>How they share them (TRL's names).</summary>
    public PackingStrategy PackingStrategy { get; init; }

    /// <summary>Tokens of a row of whole sequences side by side; 0 where each sequence has a row of its own.</summary>
    public int RowLength => Packing && PackingStrategy == PackingStrategy.Bfd ? MaxLength : 0;

    /// <summary>Whether plain texts are joined into blocks without borders.</summary>
    public bool IsWrapped => Packing && PackingStrategy == PackingStrategy.Wrapped;

    /// <summary>Whether the loss counts the prompt's tokens too.</summary>
    public bool TrainOnPrompt { get; init; }

    /// <summary>Whether the end-of-text token is put, and learned, after each answer.</summary>
    public bool AddEos { get; init; } = true;

    /// <summary>What to do with answers longer than <see cref="MaxLength"/>.</summary>
    public LongAnswerPolicy OnLongAnswer { get; init; }

    /// <summary>How many batches are sorted by length together; 1 for none.</summary>
    public int BucketWindow { get; init; } = 32;

    /// <summary>Whether training rows are read and tokenised while training instead of before the first step.</summary>
    public bool Streaming { get; init; }

    /// <summary>Rows of each data set that are read, and shuffled, together when <see cref="Streaming"/>.</summary>
    public int ShuffleBufferSize { get; init; } = 10_000;

    /// <summary>Memory for tokens, in MiB; what does not fit goes to a temporary file.</summary>
    public int MemoryBudgetMb { get; init; } = 256;

    /// <summary>The folder of that file; null for the system's.</summary>
    public string? SpillDirectory { get; init; }

    /// <summary>Reads the section; what is wrong goes to the reader's faults.</summary>
    public static DataOptions Read(OptionReader reader)
    {
        var onBadRow = reader.Choice("on_bad_row", "error", ["error", "skip"]) == "skip" ? BadRowPolicy.Skip : BadRowPolicy.Error;
        IReadOnlyList<DataSetOptions> train = [.. reader.Sections("train").Select(section => DataSetOptions.Read(section, onBadRow))];
        var options = new DataOptions
        {
            Train = train,
            Eval = [.. reader.Sections("eval").Select(section => DataSetOptions.Read(section, onBadRow, train))],
            MaxLength = reader.Integer("max_length", 512, min: 2, max: 1 << 20),
            Shuffle = reader.Boolean("shuffle", true),
            Seed = reader.Has("seed") ? reader.Long("seed", 0) : null,
            Packing = reader.Boolean("packing", false),
            PackingStrategy = reader.Choice("packing_strategy", "bfd", ["bfd", "wrapped"]) == "bfd" ? PackingStrategy.Bfd : PackingStrategy.Wrapped,
            TrainOnPrompt = reader.Boolean("train_on_prompt", false),
            AddEos = reader.Boolean("add_eos", true),
            OnLongAnswer = reader.Choice("on_long_answer", "error", ["error", "skip", "cut"]) switch
            {
                "skip" => LongAnswerPolicy.Skip,
                "cut" => LongAnswerPolicy.Cut,
                _ => LongAnswerPolicy.Error,
            },
            BucketWindow = reader.Integer("bucket_window", 32, min: 1, max: 4096),
            Streaming = reader.Boolean("streaming", false),
            ShuffleBufferSize = reader.Integer("shuffle_buffer_size", 10_000, min: 1, max: 1 << 24),
            MemoryBudgetMb = reader.Integer("memory_budget_mb", 256, min: 1, max: 1 << 20),
            SpillDirectory = reader.OptionalText("spill_directory"),
        };
        options = options with { Train = Only(reader, options.Train) };
        if (options.IsWrapped && options.Train.Count > 0 && !options.Train.Any(set => set.IsText))
        {
            reader.Fault(
                "packing_strategy", "wrapped", "a data set with a `text` template; prompts and answers are not joined", "say bfd");
        }

        if (options.Streaming && options.IsWrapped)
            reader.Fault("packing_strategy", "wrapped with streaming: true", "bfd", "or streaming: false");
        foreach (var set in options.Train.Where(set => options.Streaming && set.TaskColumn is not null))
        {
            reader.Faults.Add(
                $"{set.Place}.task_column", $"{set.TaskColumn} with streaming: true", "task: the tasks must be known before the first row",
                "make a data set of each task, with `filter:` and `task:`");
        }

        return options;
    }

    // So that one recipe of several data sets can train on each by itself.
    private static IReadOnlyList<DataSetOptions> Only(OptionReader reader, IReadOnlyList<DataSetOptions> train)
    {
        var names = reader.Texts("only", []);
        foreach (var name in names.Where(name => !train.Any(set => set.Name == name)))
            reader.Fault("only", Quote.Of(name), "names of data sets under train: " + string.Join(", ", train.Select(set => set.Name)));
        return names.Count == 0 ? train : [.. train.Where(set => names.Contains(set.Name))];
    }
}
