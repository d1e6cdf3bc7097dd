using System.Text;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Models;
using Peft.Models.Loading;

namespace Peft.Recipes.Transfer;

/// <summary>
/// An adapter of ours becomes what the Hugging Face world reads; what was written is read again and proven.
/// </summary>
public sealed class AdapterExport : IDisposable
{
    private const double Rounding = 1e-4; // of the largest logit: two orders of the same float32 sums

    private readonly ExportOptions _options;
    private readonly Action<string> _say;
    private readonly CancellationToken _stop;
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly LoadedModel _loaded;
    private readonly BundleContents _contents;
    private readonly CardFacts _facts;
    private readonly Tensor _ids;
    private readonly AdapterProbe _probe;

    private AdapterExport(ExportOptions options, Action<string> say, CancellationToken stop)
    {
        (_options, _say, _stop) = (options, say, stop);
        try
        {
            var directory = options.Base ?? LoadedModel.BaseOf(options.Adapter);
            var type = ModelLoader.StoredType(directory) == ScalarType.Float64 ? ScalarType.Float64
                : ScalarType.Float32;
            _loaded = LoadedModel.Open(directory, options.Adapter, type.Name(), torch.CPU, say);
            _contents = AdapterContents.Of(_loaded.Adapted!, options.Adapter, _loaded.BaseDirectory);
            _facts = AdapterContents.FactsOf(options.Adapter, say);
            _ids = ProbeText.Of(_loaded, options.TextFile, say);
            _probe = new AdapterProbe(Adapted);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private AdaptedModel Adapted => _loaded.Adapted!;

    private string BaseName => _contents.Base.Name;

    /// <summary>Writes the export in one step; after a fault nothing was written.</summary>
    /// <exception cref="UserException">The options do not go together, the adapter cannot be exported so, or a proof
    /// fails.</exception>
    public static ExportReport Run(ExportOptions options, Action<string> say, CancellationToken stop = default)
    {
        options.Check();
        ResultDirectory.RequireWhole(options.Output, options.Overwrite, options.Adapter,
            options.Base ?? LoadedModel.BaseOf(options.Adapter));
        using var export = new AdapterExport(options, say, stop);
        var report = options.Format == ExportOptions.Merged ? export.Merged()
            : options.Collapse is not null ? export.Collapsed()
            : export.Adapted.Options.IsPlainLora ? export.Plain()
            : export.Mixture();
        return File.Exists(BundleFiles.PathOf(options.Adapter, ContinualFile.Name))
            ? report with
            {
                Remarks =
                    [.. report.Remarks, $"{ContinualFile.Name} stays behind: a next stage goes on from the bundle"],
            }
            : report;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _loaded?.Dispose();
        _scope.Dispose();
    }

    private ExportReport Plain()
    {
        var adapter = PeftAdapter.Of(Adapted, BaseName);
        var expected = _probe.Logits(_ids);
        var proofs = new List<ExportProof>();
        Write(folder =>
        {
            PeftDirectory.Write(folder, adapter, ModelCard.OfExport(BundleWriter.ManifestOf(_contents), _facts));
            GateFile.Copy(_options.Adapter, folder);
            proofs.Add(Prove("adapter", folder, adapter, expected));
        });
        return new(_options.Output, "a LoRA of Hugging Face PEFT", proofs);
    }

    private ExportReport Mixture()
    {
        var proofs = new List<ExportProof>();
        var parts = MixturePart.Of(Adapted);
        Write(folder =>
        {
            MixtureDirectory.Write(folder, _contents, _facts);
            MixtureDirectory.Open(folder);
            foreach (var part in parts)
            {
                _stop.ThrowIfCancellationRequested();
                using var scope = torch.NewDisposeScope();
                proofs.Add(Prove(
                    part.Name, Path.Combine(folder, part.Name), PeftAdapter.Of(Adapted, part, BaseName),
                    _probe.LogitsOf(_ids, part)));
            }
            MixtureDirectory.RequireRouters(folder, Adapted);
        });
        var remarks =
            new List<string> { "PEFT loads each expert alone; routing needs this program (peft adapter import)" };
        if (RouterCatalog.Of(Adapted.Options.Router!.Kind).RoutesRanks)
            remarks.Add("expert_0 alone uses all ranks at once, which is another function than the routed one");
        if (Iterations is > 1 and var times)
            remarks.Add($"an expert alone works once; routed, the experts work {times} times, each on what they gave");
        if (Adapted.Options.Router.Slices is not null)
            remarks.Add("expert_0 alone uses all slices alike, which is another function than the weighed one");
        return new(_options.Output, $"a mixture: {string.Join(", ", parts.Select(part => part.Name))}, routers",
            proofs)
        { Remarks = remarks };
    }

    private ExportReport Collapsed()
    {
        if (Adapted.Options.IsPlainLora)
            throw UserException.At($"--collapse {_options.Collapse}", $"{_options.Adapter} is a plain LoRA",
                "a mixture", "leave --collapse out");
        var (gates, errors) = Gates();
        var losses = new List<CollapseLoss>();
        var rank = _options.Collapse == GateCollapse.Svd ? _options.Rank ?? Adapted.Options.R : (int?)null;
        var adapter = GateCollapse.Collapse(Adapted, BaseName, gates, rank, losses);
        // The reference of the proof: routed where that is exact, otherwise the very matrices that are written.
        var expected = errors is null && rank is null ? _probe.Logits(_ids) : _probe.LogitsOf(_ids, adapter);
        var proofs = new List<ExportProof>();
        Write(folder =>
        {
            PeftDirectory.Write(folder, adapter, ModelCard.OfExport(CollapsedManifest(adapter), CardFacts.None));
            proofs.Add(Prove($"collapsed ({_options.Collapse})", folder, adapter, expected));
        });
        return new(_options.Output, $"one LoRA of Hugging Face PEFT, rank {adapter.Config.R}", proofs)
        {
            Losses = [.. losses.Select(loss => loss with { GateError = errors?[loss.Path] ?? 0 })],
            RoutedDifference = errors is null && rank is null ? null
                : Difference(_probe.Logits(_ids), _probe.LogitsOf(_ids, adapter)),
        };
    }

    private ExportReport Merged()
    {
        var (gates, errors) = Gates();
        var routed = _probe.Logits(_ids);
        var expected = errors is null ? routed : _probe.Logits(_ids, call => call.WithAdded(gates[call.Module.Path]));
        var checkpoint = new MergedCheckpoint(_loaded, gates, _options);
        var remark = errors is null ? "" : MergedCheckpoint.ApproximationRemark(errors.Values);
        var card = ModelCard.OfMerged(
            BundleWriter.ManifestOf(_contents),
            _facts with { License = AdapterContents.LicenseOf(_loaded.BaseDirectory) }, remark);
        ExportProof? proof = null;
        Write(folder =>
        {
            checkpoint.Write(folder, card, _stop);
            proof = checkpoint.Prove(folder, _ids, expected);
        });
        return new(_options.Output,
            $"a checkpoint in {checkpoint.Dtype.Name()}, {checkpoint.FileCount} "
            + $"file{(checkpoint.FileCount == 1 ? "" : "s")} of weights", [proof!])
        {
            Remarks = checkpoint.UntiedRemark is { } untied ? [untied] : [],
            Losses = errors is null ? [] : [.. errors.Select(error => new CollapseLoss(error.Key, error.Value, 0, 1))],
            RoutedDifference = errors is null ? null : Difference(routed, expected),
        };
    }

    private void Write(Action<string> fill) => AtomicDirectory.Replace(_options.Output, folder =>
    {
        _stop.ThrowIfCancellationRequested();
        fill(folder);
        if (_contents.ChatTemplate is { } template)
            AtomicFile.WriteText(Path.Combine(folder, BundleFiles.ChatTemplate), template);
        _stop.ThrowIfCancellationRequested();
    });

    // How often the experts work for each token.
    private int Iterations =>
        Adapted.Modules.Max(module => module.Router is IChained chain ? chain.Iterations : 1);

    // The constant gates; with errors where they only stand for gates that follow the input.
    private (IReadOnlyDictionary<string, Tensor> Gates, IReadOnlyDictionary<string, double>? Errors) Gates()
    {
        if (GateCollapse.ConstantGates(Adapted) is { } constant)
            return (constant, null);
        var kind = Adapted.Options.Router!.Kind;
        if (Iterations is > 1 and var times)
            throw UserException.At(
                _options.Adapter, $"router {kind} has the experts work {times} times, each time on what they gave",
                "a router whose experts one matrix can hold", "export the experts with --format peft");
        var what = Adapted.Options.Router.WholeFeedForward ? "whole" : "slices of";
        if (Adapted.Options.Router.RoutesFeedForward)
            throw UserException.At(
                _options.Adapter, $"router {kind} weighs {what} "
                + "feed-forwards, which weights of single projections cannot", null,
                "export the experts with --format peft");
        if (!_options.Approximate)
            throw UserException.At(
                _options.Adapter, $"router {kind} chooses by the input, which one set of weights cannot", null,
                "export the experts with --format peft, or replace the gates by their means with --approximate, which "
                + "reports the error");
        try
        {
            var means = GateCollapse.MeanGates(_probe, _ids);
            return (means, GateCollapse.GateErrors(_probe, _ids, means));
        }
        catch (TaskIdException e)
        {
            throw UserException.At(
                _options.Adapter, $"router {kind} goes by task ids, which cannot be averaged over a text", null,
                "export the experts, one for each task, with --format peft", e);
        }
    }

    private ExportProof Prove(string what, string directory, PeftAdapter written, Tensor expected)
    {
        var again = PeftDirectory.Read(directory, _say);
        PeftAdapter.RequireEqual(directory, written, again);
        return Compare(what, 2 * written.Modules.Count, expected, _probe.LogitsOf(_ids, again), Rounding);
    }

    /// <summary>The proof by logits; the allowed difference grows with the largest logit.</summary>
    /// <exception cref="UserException">They differ by more.</exception>
    internal static ExportProof Compare(
        string what, int tensors, Tensor expected, Tensor found, double share, string? roundedTo = null)
    {
        var proof = new ExportProof(
            what, tensors, Difference(expected, found), Math.Max(1, expected.abs().max().ToDouble()), share, roundedTo);
        return proof.LargestDifference <= proof.Allowed // false for NaN
            ? proof
            : throw UserException.At(
                what, $"its logits differ by {proof.LargestDifference:G3}", $"at most {proof.Allowed:G3}",
                "nothing was written; try --dtype float32 if another type was given");
    }

    private static double Difference(Tensor expected, Tensor found) => (expected - found).abs().max().ToDouble();

    // The card of a collapsed mixture tells of the LoRA that stands there.
    private BundleManifest CollapsedManifest(PeftAdapter adapter) => BundleWriter.ManifestOf(_contents) with
    {
        Adapter = PeftConfig.ToOptions(adapter.Config, ModuleNames.AllLinear),
    };
}

/// <summary>The tokens that an export is proven on.</summary>
public static class ProbeText
{
    private const int Longest = 128; // tokens
    private const long LargestFile = 1L << 20; // bytes: far more than these tokens
    private const string Text =
        "The mill by the river has stood since 1847. In spring, when snow melts in the hills, its wheel turns 12 "
        + "times a minute; in a dry "
        + "August it stands still. Q: What is 17 + 25? A: 42. def area(width, height): return width * height  # "
        + "square metres";

    /// <summary>
    /// Ids of a text file, or of a built-in text; without a tokenizer, ids spread over the vocabulary.
    /// </summary>
    /// <remarks>Shapes: [1, T] int64.</remarks>
    /// <exception cref="UserException">The file cannot be read, or is empty.</exception>
    public static Tensor Of(LoadedModel loaded, string? file, Action<string> say)
    {
        var config = loaded.Model.Config;
        var most = Math.Min(Longest, config.MaxPositionEmbeddings);
        int[] ids;
        if (file is null && !File.Exists(Path.Combine(loaded.TokenizerDirectory, "tokenizer.json")))
        {
            say($"{loaded.TokenizerDirectory}: no tokenizer.json; checked on token ids spread over the vocabulary");
            ids = [.. Enumerable.Range(0, most).Select(i => (int)((long)i * config.VocabularySize / most))];
        }
        else
        {
            var text = file is null ? Text : Encoding.UTF8.GetString(BoundedFile.ReadAllBytes(file, LargestFile));
            ids = [.. loaded.Encoder.Prompt(text).Ids.Take(most)];
            if (text.Length == 0)
                throw UserException.At(file!, "no tokens", "a text of at least one token",
                    "choose another with --text");
            config.CheckIds(ids);
        }
        return torch.tensor([.. ids.Select(id => (long)id)], [1, ids.Length]);
    }
}
