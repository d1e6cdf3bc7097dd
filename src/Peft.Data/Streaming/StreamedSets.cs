using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats;

namespace Peft.Data.Streaming;

/// <summary>A data set that is read while training.</summary>
/// <param name="Reader">Its rows.</param>
/// <param name="FileOffset">Index of its first file among those of all data sets.</param>
/// <param name="Rows">How many rows it has; null where only reading tells.</param>
/// <param name="Unknown">Why, then.</param>
internal sealed record StreamedSet(DataSetReader Reader, int FileOffset, long? Rows, string? Unknown);

/// <summary>The data sets of <c>train:</c> that are read while training, and what is known of them before.</summary>
internal sealed class StreamedSets
{
    private StreamedSets(
        IReadOnlyList<StreamedSet> sets, IReadOnlyList<string> files, string dataSha256, FileStamps stamps, long? sequencesPerEpoch, string? unknown)
    {
        Sets = sets;
        Files = files;
        DataSha256 = dataSha256;
        Stamps = stamps;
        SequencesPerEpoch = sequencesPerEpoch;
        Unknown = unknown;
    }

    /// <summary>The data sets, in the recipe's order.</summary>
    public IReadOnlyList<StreamedSet> Sets { get; }

    /// <summary>The names of all their files.</summary>
    public IReadOnlyList<string> Files { get; }

    /// <summary>Hash over the data files.</summary>
    public string DataSha256 { get; }

    /// <summary>The files as they were before anything was read.</summary>
    public FileStamps Stamps { get; }

    /// <summary>Sequences of an epoch; null where only reading tells.</summary>
    public long? SequencesPerEpoch { get; }

    /// <summary>Why only reading tells.</summary>
    public string? Unknown { get; }

    /// <summary>Counts rows where that takes no reading.</summary>
    /// <param name="readers">The data sets, checked.</param>
    /// <param name="options">The recipe's section.</param>
    /// <param name="dataSha256">Hash over the data files.</param>
    /// <param name="stamps">The files as they were before that.</param>
    /// <exception cref="FaultsException">Rows are to come once an epoch from several data sets, and one is of unknown size.</exception>
    public static StreamedSets Of(IReadOnlyList<DataSetReader> readers, DataOptions options, string dataSha256, FileStamps stamps)
    {
        var sets = new List<StreamedSet>();
        var files = new List<string>();
        foreach (var reader in readers)
        {
            var (rows, unknown) = reader.CountRows();
            sets.Add(new StreamedSet(reader, files.Count, rows, unknown));
            files.AddRange(reader.Files.Select(file => file.Name));
        }

        var open = sets.Find(set => set.Rows is null);
        var why = open is not null ? $"{open.Reader.Options.Place}: {open.Unknown}"
            : options.OnLongAnswer == LongAnswerPolicy.Skip ? "on_long_answer is skip"
            : options.Packing ? "with packing" : null;
        if (open is not null && sets.Count > 1 && options.Shuffle && sets.TrueForAll(set => set.Reader.Options.Weight is null))
        {
            var faults = new Faults();
            faults.Add(
                "data.train", $"{sets.Count} data sets without `weight:`, of unknown size ({why})",
                "with streaming: true, a weight, or sizes that are known without reading (Parquet without filter)",
                "give each data set a `weight:`");
            faults.ThrowIfAny("the data section");
        }

        return new StreamedSets(sets, files, dataSha256, stamps, why is null ? sets.Sum(set => set.Rows) : null, why);
    }
}
