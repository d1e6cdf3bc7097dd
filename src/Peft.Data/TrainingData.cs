using System.Text;
using Peft.Chat;
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
/// <see cref="BatchOptions.MemoryBudgetMb"/> for any number of rows; what is beyond lies in a temporary file.
/// With <see cref="BatchOptions.Streaming"/> training rows are read and tokenised while training instead.
/// </summary>
public sealed class TrainingData : IDisposable
{
    private const int SampleRows = 1024; // of each data set
    private readonly DataOptions _options;
    private readonly TextEncoder _encoder;
    private readonly TaskRegistry _tasks;
    private readonly SequenceSet? _train;
    private readonly StreamedData? _streamed;
    private readonly List<StreamedWindows> _streams = [];
    private IReadOnlyList<DataStatistics>? _sample;

    private TrainingData(
        DataOptions options, TextEncoder encoder, TaskRegistry tasks, SequenceSet? train, StreamedData? streamed,
        SequenceSet eval,
        int trainTaskCount, IReadOnlyList<DataFileHash> files)
    {
        _options = options;
        _encoder = encoder;
        _tasks = tasks;
        _train = train;
        _streamed = streamed;
        Eval = eval;
        TrainTaskCount = trainTaskCount;
        Files = files;
    }

    /// <summary>Whether training rows are read while training.</summary>
    public bool IsStreaming => _streamed is not null;

    /// <summary>The sequences of <c>train:</c>; not available when <see cref="IsStreaming"/>.</summary>
    public SequenceSet Train => _train ?? throw new InvalidOperationException("the rows of train: are streamed");

    /// <summary>Training sequences of an epoch; null where streaming and only reading tells.</summary>
    public long? TrainCount => _streamed is null ? Train.Count : _streamed.SequencesPerEpoch;

    /// <summary>Why <see cref="TrainCount"/> is not known.</summary>
    public string? WhyUnknown => _streamed?.Unknown;

    /// <summary>The sequences of <c>eval:</c>; empty when there are none.</summary>
    public SequenceSet Eval { get; }

    /// <summary>Task names by task id.</summary>
    public IReadOnlyList<string> TaskNames => _tasks.Names;

    /// <summary>How many of them occur in <c>train:</c>; they have the first ids.</summary>
    public int TrainTaskCount { get; }

    /// <summary>The chat template of its conversations; null where there are none.</summary>
    public ChatTemplate? Template { get; private init; }

    /// <summary>The data files and their hashes, for provenance.</summary>
    public IReadOnlyList<DataFileHash> Files { get; }

    /// <summary>The endless stream of training batches, from the beginning or from a saved place.</summary>
    /// <param name="batchSize">Rows in a batch.</param>
    /// <param name="seed">The run's seed; <see cref="BatchOptions.Seed"/> comes before it.</param>
    /// <param name="state">Where to go on; null for the beginning.</param>
    /// <exception cref="UserException">The place was saved with other data or settings.</exception>
    public BatchStream Batches(int batchSize, long seed, BatchStreamState? state = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        if (_streamed is null)
            return new BatchStream(
                new StoredWindows(Train, _options, batchSize, _options.Seed ?? seed), _options, state);
        var stream = new StreamedWindows(_streamed, _options, _encoder, _tasks, batchSize, _options.Seed ?? seed);
        _streams.Add(stream);
        return new BatchStream(stream, _options, state);
    }

    /// <summary>Counts over the first rows, some 1,000, of each training data set that is streamed, which are read for
    /// it.</summary>
    /// <exception cref="UserException">A row of them cannot be used.</exception>
    public IReadOnlyList<DataStatistics> Sample() =>
        _sample ??= [.. (_streamed?.Sets ?? []).Select(set => SampleOf(set, _streamed!.Stamps))];

    private DataStatistics SampleOf(StreamedSet set, FileStamps stamps)
    {
        try
        {
            var source = new SequenceReader(set.Reader, _options, _encoder, _tasks);
            _ = source.Read(SampleRows, Math.Min(SampleRows, _options.ShuffleBufferSize)).Count();
            return source.Statistics;
        }
        catch (UserException error)
        {
            stamps.RequireUnchanged(error); // rather than what a half-written row looks like
            throw;
        }
    }

    /// <summary>Rows, tokens and padding of the first epoch.</summary>
    /// <param name="batchSize">Rows in a batch.</param>
    /// <param name="seed">The run's seed; <see cref="BatchOptions.Seed"/> comes before it.</param>
    /// <param name="isPacked">False: what they would be if each sequence had a row of its own.</param>
    public EpochShape FirstEpoch(int batchSize, long seed, bool isPacked = true)
    {
        var options = isPacked ? _options : _options with { Packing = false };
        return new BatchStream(
            new StoredWindows(Train, options, batchSize, options.Seed ?? seed), options, null).FirstEpoch();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var stream in _streams)
            stream.Dispose();
        _train?.Dispose();
        Eval.Dispose();
    }

    /// <summary>Opens, checks and tokenises all data sets.</summary>
    /// <param name="options">The recipe's section.</param>
    /// <param name="encoder">How the model's texts are encoded.</param>
    /// <param name="baseDirectory">The folder that relative paths start from.</param>
    /// <param name="progress">Told the number of sequences now and then; may be null.</param>
    /// <param name="template">Finds the chat template, where one is needed.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <exception cref="UserException">Files, columns, rows or settings are wrong; the message says which.</exception>
    public static TrainingData Open(
        DataOptions options, TextEncoder encoder, string baseDirectory, Action<long>? progress = null,
        Func<ChatTemplate>? template = null, CancellationToken cancellation = default)
    {
        var faults = new Faults();
        if (options.Train.Count == 0)
            faults.Add("data.train", "missing", "at least one data set");
        Check(options, encoder, faults);
        var trainReaders = Readers(options.Train);
        var evalReaders = Readers(options.Eval);
        CheckConversations(options, trainReaders.Concat(evalReaders), faults);
        faults.ThrowIfAny("the data section");

        var files = trainReaders.Concat(evalReaders).SelectMany(
            reader => reader.Files).DistinctBy(file => file.Path).ToList();
        var stamps = FileStamps.Of(files);
        TrainingData? data = null;
        try
        {
            data = Read(options, encoder, trainReaders, evalReaders, files, stamps, progress, cancellation);
            stamps.RequireUnchanged();
            return data;
        }
        catch (UserException error)
        {
            data?.Dispose();
            stamps.RequireUnchanged(error); // rather than what a half-written row looks like
            throw;
        }

        List<DataSetReader> Readers(IReadOnlyList<DataSetOptions> sets) =>
            [.. sets.Select(set => DataSetReader.Open(set, baseDirectory, faults, template))];
    }

    private static TrainingData Read(
        DataOptions options, TextEncoder encoder, IReadOnlyList<DataSetReader> trainReaders,
        IReadOnlyList<DataSetReader> evalReaders,
        IReadOnlyList<DataFile> files, FileStamps stamps, Action<long>? progress, CancellationToken cancellation)
    {
        // Streaming shall begin at once, so that large files are not read whole for their hash.
        Func<string, string> hashOf = options.Streaming ? SampledHash.OfFile : Sha256.OfFile;
        var hashes = files.ToDictionary(
            file => file.Path, file => new DataFileHash(file.Name, hashOf(file.Path), new FileInfo(file.Path).Length));
        var tasks = new TaskRegistry(options.Train);
        var streamed = options.Streaming
            ? StreamedData.Of(trainReaders, options, HashOf(trainReaders, hashes), stamps)
            : null;
        var train = streamed is null ? ReadAll(trainReaders) : null;
        try
        {
            var trainTaskCount = tasks.Names.Count;
            var eval = ReadAll(evalReaders);
            return new TrainingData(options, encoder, tasks, train, streamed, eval, trainTaskCount, [.. hashes.Values])
            {
                Template = trainReaders.Concat(evalReaders).Select(reader => reader.Template)
                    .FirstOrDefault(template => template is not null),
            };
        }
        catch
        {
            train?.Dispose();
            throw;
        }

        SequenceSet ReadAll(IReadOnlyList<DataSetReader> readers) =>
            SequenceSet.Read(readers, options, encoder, tasks, HashOf(readers, hashes), progress, cancellation);
    }

    internal static void Check(DataOptions options, TextEncoder encoder, Faults faults)
    {
        if (options.AddEos && encoder.EndId is null)
            faults.Add(
                "data.add_eos", "true, and the tokenizer has no end-of-text token", "false",
                "or give the tokenizer an eos_token");
        if (encoder.Prefix.Count + 2 > options.MaxLength)
            faults.Add(
                "data.max_length", $"{options.MaxLength}",
                $"room for {encoder.Prefix.Count} special tokens and two more");
    }

    /// <summary>Notes keys that say nothing of the data sets there are.</summary>
    internal static void CheckConversations(DataOptions options, IEnumerable<DataSetReader> readers, Faults faults)
    {
        var isTalk = readers.Select(reader => reader.IsConversations).ToList();
        if (options.TrainOn != TrainOn.Assistant && isTalk.Count > 0 && !isTalk.Contains(true))
            faults.Add(
                "data.train_on", "given, and no data set holds conversations", "conversations",
                "set `train_on_prompt: true` to learn prompts too");
        if (options.TrainOnPrompt && isTalk.Count > 0 && !isTalk.Contains(false))
            faults.Add(
                "data.train_on_prompt", "true, and all data sets hold conversations", "false",
                "set `train_on: all` to learn all messages");
    }

    // The same rows are other sequences with another chat template.
    private static string HashOf(IReadOnlyList<DataSetReader> readers, Dictionary<string, DataFileHash> hashes)
    {
        var files = readers.SelectMany(reader => reader.Files).Select(file => hashes[file.Path].Sha256);
        var templates = readers.Select(reader => reader.Template?.Source).OfType<string>().Distinct()
            .Select(source => Sha256.OfBytes(Encoding.UTF8.GetBytes(source)));
        return Sha256.OfBytes(Encoding.ASCII.GetBytes(string.Join('\n', files.Concat(templates))));
    }
}

/// <summary>Which bytes a run was trained on.</summary>
/// <param name="File">The file, as the recipe names it.</param>
/// <param name="Sha256">Hash of its bytes, lower-case hex; of a large file that is streamed <c>sampled-</c> and a hash
/// of its size and samples.</param>
/// <param name="Bytes">Its size.</param>
public sealed record DataFileHash(string File, string Sha256, long Bytes);
