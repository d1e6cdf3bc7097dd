using System.Text;
using Peft.Data.Batches;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Tokenizers;

namespace Peft.Data;

/// <summary>
/// The data of a run: files read, made into examples, tokenised once, and kept compactly. Memory stays within
/// <see cref="DataOptions.MemoryBudgetMb"/> for any number of rows; what is beyond lies in a temporary file.
/// </summary>
public sealed class TrainingData : IDisposable
{
    private readonly DataOptions _options;
    private readonly TaskRegistry _tasks;

    private TrainingData(
        DataOptions options, TaskRegistry tasks, SequenceSet train, SequenceSet eval, int trainTaskCount,
        IReadOnlyList<DataFileHash> files)
    {
        _options = options;
        _tasks = tasks;
        Train = train;
        Eval = eval;
        TrainTaskCount = trainTaskCount;
        Files = files;
    }

    /// <summary>The sequences of <c>train:</c>.</summary>
    public SequenceSet Train { get; }

    /// <summary>The sequences of <c>eval:</c>; empty when there are none.</summary>
    public SequenceSet Eval { get; }

    /// <summary>Task names by task id.</summary>
    public IReadOnlyList<string> TaskNames => _tasks.Names;

    /// <summary>How many of them occur in <c>train:</c>; they have the first ids.</summary>
    public int TrainTaskCount { get; }

    /// <summary>The data files and their hashes, for provenance.</summary>
    public IReadOnlyList<DataFileHash> Files { get; }

    /// <summary>Opens, checks and tokenises all data sets.</summary>
    /// <param name="options">The recipe's section.</param>
    /// <param name="tokenizer">The base model's tokenizer.</param>
    /// <param name="baseDirectory">The folder that relative paths start from.</param>
    /// <param name="progress">Told the number of sequences now and then; may be null.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <param name="endId">The model's eos_token_id, for a tokenizer that names no end-of-text token.</param>
    /// <exception cref="UserException">Files, columns, rows or settings are wrong; the message says which.</exception>
    public static TrainingData Open(
        DataOptions options, Tokenizer tokenizer, string baseDirectory, Action<long>? progress = null,
        int? endId = null, CancellationToken cancellation = default) =>
        Open(options, TextEncoder.Of(tokenizer, endId), baseDirectory, progress, cancellation);

    /// <summary>The endless stream of training batches, from the beginning or from a saved place.</summary>
    /// <param name="batchSize">Rows in a batch.</param>
    /// <param name="seed">The run's seed; <see cref="DataOptions.Seed"/> comes before it.</param>
    /// <param name="state">Where to go on; null for the beginning.</param>
    /// <exception cref="BatchStateException">The place was saved with other data or settings.</exception>
    public BatchStream Batches(int batchSize, long seed, BatchStreamState? state = null) =>
        new(Train, _options, batchSize, _options.Seed ?? seed, state);

    /// <summary>Rows, tokens and padding of the first epoch.</summary>
    /// <param name="batchSize">Rows in a batch.</param>
    /// <param name="seed">The run's seed; <see cref="DataOptions.Seed"/> comes before it.</param>
    /// <param name="isPacked">False: what they would be if each sequence had a row of its own.</param>
    public EpochShape FirstEpoch(int batchSize, long seed, bool isPacked = true)
    {
        var options = isPacked ? _options : _options with { Packing = false };
        return new BatchStream(Train, options, batchSize, options.Seed ?? seed, null).FirstEpoch();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Train.Dispose();
        Eval.Dispose();
    }

    internal static TrainingData Open(
        DataOptions options, TextEncoder encoder, string baseDirectory, Action<long>? progress = null,
        CancellationToken cancellation = default)
    {
        var faults = new Faults();
        if (options.Train.Count == 0)
            faults.Add("data.train", "missing", "at least one data set");
        Check(options, encoder, faults);
        var trainReaders = options.Train.Select(set => DataSetReader.Open(set, baseDirectory, faults)).ToList();
        var evalReaders = options.Eval.Select(set => DataSetReader.Open(set, baseDirectory, faults)).ToList();
        faults.ThrowIfAny("the data section");

        var files = trainReaders.Concat(evalReaders).SelectMany(reader => reader.Files).DistinctBy(file => file.Path).ToList();
        var stamps = FileStamps.Of(files);
        TrainingData? data = null;
        try
        {
            data = Read(options, encoder, trainReaders, evalReaders, files, progress, cancellation);
            stamps.RequireUnchanged();
            return data;
        }
        catch (UserException error)
        {
            data?.Dispose();
            stamps.RequireUnchanged(error); // rather than what a half-written row looks like
            throw;
        }
    }

    private static TrainingData Read(
        DataOptions options, TextEncoder encoder, IReadOnlyList<DataSetReader> trainReaders, IReadOnlyList<DataSetReader> evalReaders,
        IReadOnlyList<DataFile> files, Action<long>? progress, CancellationToken cancellation)
    {
        var hashes = files.ToDictionary(
            file => file.Path, file => new DataFileHash(file.Name, Sha256.OfFile(file.Path), new FileInfo(file.Path).Length));
        var tasks = new TaskRegistry(options.Train);
        var train = ReadAll(trainReaders, options, encoder, tasks, hashes, progress, cancellation);
        try
        {
            var trainTaskCount = tasks.Names.Count;
            var eval = ReadAll(evalReaders, options, encoder, tasks, hashes, progress, cancellation);
            return new TrainingData(options, tasks, train, eval, trainTaskCount, [.. hashes.Values]);
        }
        catch
        {
            train.Dispose();
            throw;
        }
    }

    internal static void Check(DataOptions options, TextEncoder encoder, Faults faults)
    {
        if (options.AddEos && encoder.EndId is null)
            faults.Add("data.add_eos", "true, and the tokenizer has no end-of-text token", "false", "or give the tokenizer an eos_token");
        if (encoder.Prefix.Count + 2 > options.MaxLength)
            faults.Add("data.max_length", $"{options.MaxLength}", $"room for {encoder.Prefix.Count} special tokens and two more");
    }

    private static SequenceSet ReadAll(
        IReadOnlyList<DataSetReader> readers, DataOptions options, TextEncoder encoder, TaskRegistry tasks,
        Dictionary<string, DataFileHash> hashes, Action<long>? progress, CancellationToken cancellation)
    {
        const int ProgressSteps = 8192; // sequences
        const int ReadAhead = 1024; // rows
        var store = new SequenceStore((long)options.MemoryBudgetMb << 20, options.SpillDirectory ?? Path.GetTempPath());
        try
        {
            var files = new List<string>();
            var ranges = new List<SequenceRange>();
            var dataSets = new List<DataStatistics>();
            var lengths = new long[options.MaxLength + 1];
            foreach (var reader in readers)
            {
                var start = store.Count;
                var source = new SequenceReader(reader, options, encoder, tasks);
                foreach (var sequence in source.Read(name => IdOf(files, name), ReadAhead))
                {
                    store.Add(sequence);
                    if (store.Count % ProgressSteps != 0)
                        continue;
                    cancellation.ThrowIfCancellationRequested();
                    progress?.Invoke(store.Count);
                }

                dataSets.Add(source.Statistics);
                ranges.Add(new SequenceRange(start, store.Count - start, reader.Options.Weight));
                for (var length = 0; length < lengths.Length; length++)
                    lengths[length] += source.Histogram[length];
                RequireSequences(source.Statistics, reader.Options.Place);
            }

            var paths = readers.SelectMany(reader => reader.Files).Select(file => hashes[file.Path].Sha256);
            var hash = Sha256.OfBytes(Encoding.ASCII.GetBytes(string.Join('\n', paths)));
            return new SequenceSet(store, files, encoder.PadId, hash, ranges, Sum(dataSets, lengths, tasks), dataSets);
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    // Files come one after the other: the last one is nearly always the one.
    private static int IdOf(List<string> files, string name)
    {
        var at = files.LastIndexOf(name);
        if (at >= 0)
            return at;
        files.Add(name);
        return files.Count - 1;
    }

    private static void RequireSequences(DataStatistics found, string place)
    {
        if (found.Sequences > 0)
            return;
        throw new UserException(
            $"{place} - no sequence: {found.Rows} rows read, {found.FilteredRows} left out by the filter, {found.BadRows} bad,"
            + $" {found.LongRows} too long - at least one - correct the filter or the files");
    }

    private static DataStatistics Sum(IReadOnlyList<DataStatistics> parts, long[] lengths, TaskRegistry tasks)
    {
        var counts = parts.SelectMany(part => part.Tasks).GroupBy(task => task.Key)
            .ToDictionary(group => group.Key, group => group.Sum(task => task.Value));
        return new DataStatistics
        {
            Name = "all",
            Rows = parts.Sum(part => part.Rows),
            FilteredRows = parts.Sum(part => part.FilteredRows),
            BadRows = parts.Sum(part => part.BadRows),
            LongRows = parts.Sum(part => part.LongRows),
            Sequences = parts.Sum(part => part.Sequences),
            Tokens = parts.Sum(part => part.Tokens),
            LearnedTokens = parts.Sum(part => part.LearnedTokens),
            CutTokens = parts.Sum(part => part.CutTokens),
            CutSequences = parts.Sum(part => part.CutSequences),
            Lengths = LengthStatistics.Of(lengths),
            Tasks = [.. tasks.Names.Where(counts.ContainsKey).Select(name => KeyValuePair.Create(name, counts[name]))],
        };
    }
}
