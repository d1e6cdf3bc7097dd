using Peft.Adapters.Bundles;
using Peft.Adapters.Merging;
using Peft.Formats;

namespace Peft.Recipes.Transfer;

/// <summary>What <c>adapter export</c> is asked for.</summary>
public sealed record ExportOptions
{
    /// <summary>Directories that Hugging Face PEFT reads.</summary>
    public const string Peft = "peft";

    /// <summary>A full checkpoint with the adapter in its weights.</summary>
    public const string Merged = "merged";

    /// <summary>The adapter: ours, or a LoRA directory of PEFT's.</summary>
    public required string Adapter { get; init; }

    /// <summary>Its base; null: the one it names.</summary>
    public string? Base { get; init; }

    /// <summary>The directory to write.</summary>
    public required string Output { get; init; }

    /// <summary>What to write.</summary>
    /// <value>Default peft; peft or merged.</value>
    public string Format { get; init; } = Peft;

    /// <summary>
    /// Writes a mixture as one LoRA: <c>cat</c> adds the ranks up, <c>svd</c> reduces them; null: a directory an
    /// expert.
    /// </summary>
    public string? Collapse { get; init; }

    /// <summary>Rank of <c>--collapse svd</c>; null: the adapter's own.</summary>
    public int? Rank { get; init; }

    /// <summary>
    /// Whether gates that follow the input may be replaced by their means over a text, with the error told.
    /// </summary>
    public bool Approximate { get; init; }

    /// <summary>The text that gates are averaged over and that exports are proven on; null: a built-in one.</summary>
    public string? TextFile { get; init; }

    /// <summary>Type of a merged checkpoint; <c>auto</c>: the base's own.</summary>
    public string Dtype { get; init; } = "auto";

    /// <summary>Most bytes in one file of a merged checkpoint.</summary>
    /// <value>Default 5 GB, as transformers had it for years.</value>
    public long MaxShardSize { get; init; } = 5_000_000_000;

    /// <summary>Whether an earlier result is replaced.</summary>
    public bool Overwrite { get; init; }

    /// <summary>Refuses values and combinations that mean nothing.</summary>
    /// <exception cref="UserException">There is one.</exception>
    public void Check()
    {
        var faults = new Faults();
        if (Format is not (Peft or Merged))
            faults.Add("--format", Format, $"{Peft} or {Merged}");
        if (Collapse is not (null or GateCollapse.Cat or GateCollapse.Svd))
            faults.Add("--collapse", Collapse, $"{GateCollapse.Cat} or {GateCollapse.Svd}");
        if (Collapse is not null && Format == Merged)
            faults.Add("--collapse", $"given with --format {Merged}", $"--format {Peft}",
                "a merged checkpoint has no rank to choose");
        if (Rank is not null && Collapse != GateCollapse.Svd)
            faults.Add("--rank", $"given without --collapse {GateCollapse.Svd}, where it has no effect");
        if (Rank is < 1)
            faults.Add("--rank", $"{Rank}", "at least 1");
        if (Approximate && Format != Merged && Collapse is null)
            faults.Add("--approximate", "given without --format merged or --collapse, where it has no effect", null,
                "leave it out: directories of experts lose nothing");
        if (!ModelOptions.Dtypes.Contains(Dtype))
            faults.Add("--dtype", Dtype, Words.OneOf([.. ModelOptions.Dtypes]));
        if (Dtype != "auto" && Format != Merged)
            faults.Add("--dtype", $"{Dtype} given without --format {Merged}", null,
                "leave it out: adapters keep their float32");
        if (MaxShardSize < 1)
            faults.Add("--max-shard-size", $"{MaxShardSize}", "at least 1 byte, such as 5GB");
        faults.ThrowIfAny("peft adapter export");
    }
}

/// <summary>One comparison of what was written with the adapter it was written from.</summary>
/// <param name="What">What was compared.</param>
/// <param name="Tensors">Tensors that were read again and found equal bit for bit; 0 where values were meant to
/// change.</param>
/// <param name="LargestDifference">Largest difference of a logit on the probe text.</param>
/// <param name="LargestLogit">The largest logit there, 1 at least.</param>
/// <param name="AllowedShare">The largest difference that is let pass, as a share of that logit.</param>
/// <param name="RoundedTo">The type that every weight was rounded to; null where nothing was.</param>
public sealed record ExportProof(
    string What, int Tensors, double LargestDifference, double LargestLogit, double AllowedShare,
    string? RoundedTo = null)
{
    /// <summary>The largest difference that is let pass.</summary>
    public double Allowed => AllowedShare * LargestLogit;
}

/// <summary>The outcome of an export.</summary>
/// <param name="Output">The directory.</param>
/// <param name="Kind">What it holds, in words.</param>
/// <param name="Proofs">How it was proven.</param>
public sealed record ExportReport(string Output, string Kind, IReadOnlyList<ExportProof> Proofs)
{
    /// <summary>What collapsing the gates lost; empty where nothing was collapsed.</summary>
    public IReadOnlyList<CollapseLoss> Losses { get; init; } = [];

    /// <summary>
    /// Largest difference of a logit between the routed mixture and what was written; null where gates are exact.
    /// </summary>
    public double? RoutedDifference { get; init; }

    /// <summary>What readers of the result should know.</summary>
    public IReadOnlyList<string> Remarks { get; init; } = [];
}
