using System.Globalization;
using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;
using Peft.Models;

namespace Peft.Adapters.Bundles;

/// <summary>
/// A mixture as directories that Hugging Face PEFT reads: <c>expert_N/</c> for each expert, <c>shared/</c> for
/// projections without a router, <c>router.safetensors</c>, and <c>mixture.json</c>, which holds what
/// <c>bundle.json</c> holds and makes the way back exact.
/// </summary>
/// <remarks>
/// The manifest names no file to open: names are fixed, and the paths in it are only compared with them, so that a
/// manifest of a stranger's cannot lead out of the directory.
/// </remarks>
public static class MixtureDirectory
{
    /// <summary>What makes a directory an exported mixture.</summary>
    public const string Manifest = "mixture.json";

    /// <summary>The routers' parameters and buffers, and what the parts cannot hold.</summary>
    public const string RouterFile = "router.safetensors";

    private static readonly string[] RootFiles = [RouterFile, BundleFiles.Card, BundleFiles.Recipe];
    private static readonly string[] PartFiles = [BundleFiles.Config, BundleFiles.Weights, BundleFiles.Card];

    /// <summary>Whether a directory holds an exported mixture.</summary>
    public static bool IsOne(string directory) => File.Exists(Path.Combine(directory, Manifest));

    /// <summary>Writes every part, the routers and the manifest into a directory.</summary>
    /// <param name="directory">An empty directory.</param>
    /// <param name="contents">The mixture and where it came from.</param>
    /// <param name="facts">What the cards tell beside the settings.</param>
    public static void Write(string directory, BundleContents contents, CardFacts facts)
    {
        var adapted = contents.Adapted;
        var manifest = BundleWriter.ManifestOf(contents);
        var names = new List<string>();
        foreach (var part in MixturePart.Of(adapted))
        {
            PeftDirectory.Write(
                Path.Combine(directory, part.Name), PeftAdapter.Of(adapted, part, contents.Base.Name), ModelCard.OfPart(
                    manifest, part, facts));
            names.AddRange(PartFiles.Select(file => $"{part.Name}/{file}"));
        }
        SafetensorsWriter.WriteFile(
            Path.Combine(directory, RouterFile), [
                .. RouterState(adapted).Select(pair => BundleTensors.ToWrite(pair.Key, pair.Value))]);
        BundleFiles.WriteText(directory, BundleFiles.Card, ModelCard.OfExport(manifest, facts));
        names.AddRange([RouterFile, BundleFiles.Card]);
        if (contents.ResolvedRecipe is not null)
        {
            BundleFiles.WriteText(directory, BundleFiles.Recipe, contents.ResolvedRecipe);
            names.Add(BundleFiles.Recipe);
        }
        manifest = manifest with
        {
            Files = [.. names.Select(name => KeyValuePair.Create(name, Sha256.OfFile(Path.Combine(directory, name))))],
        };
        BundleFiles.WriteText(directory, Manifest, manifest.ToJson());
    }

    /// <summary>Reads the manifest and compares the hash of every file it names.</summary>
    /// <exception cref="UserException">It is no manifest; files are missing, changed, or lie elsewhere; all at
    /// once.</exception>
    public static BundleManifest Open(string directory)
    {
        var path = Path.Combine(directory, Manifest);
        if (!File.Exists(path))
            throw UserException.At(directory, $"no {Manifest}", "the directory of an exported mixture");
        if (InnerPath.OutsideTarget(directory, Manifest) is { } target)
            throw UserException.At(path, $"a link to {Quote.Of(target)}", "a file in the exported directory");
        var manifest = BundleManifest.Read(path);
        var faults = new Faults();
        if (manifest.Adapter.IsPlainLora)
            faults.Add(
                "adapter.method", "lora", "mixture", "a plain LoRA is exported as one directory, without mixture.json");
        foreach (var (name, expected) in manifest.Files)
            Check(faults, directory, name, expected);
        if (!manifest.Files.Any(file => file.Key == RouterFile))
            faults.Add("files", $"{RouterFile} is not listed", "a hash for it");
        faults.ThrowIfAny(path);
        return manifest;
    }

    /// <summary>Refuses a router file that differs in a single bit from the routers it was written from.</summary>
    /// <exception cref="UserException">It differs.</exception>
    public static void RequireRouters(string directory, AdaptedModel adapted)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        var file = SafetensorsFile.Open(Path.Combine(directory, RouterFile));
        var copies = RouterState(adapted)
            .ToDictionary(pair => pair.Key, pair => torch.zeros_like(pair.Value), StringComparer.Ordinal);
        BundleTensors.Load(copies, adapted.Modules.Count, file.Path, file.Entries);
        foreach (var (name, value) in RouterState(adapted).Where(pair => !pair.Value.SameAs(copies[pair.Key])))
            throw UserException.At(
                file.Path, $"{name} [{string.Join(", ", value.shape)}] is not what was written", null,
                "check the disk");
    }

    /// <summary>The part directories that a manifest lists.</summary>
    public static IEnumerable<string> PartNames(BundleManifest manifest) =>
        manifest.Files.Select(file => file.Key.Split('/'))
            .Where(parts => parts.Length == 2 && parts[1] == BundleFiles.Weights).Select(parts => parts[0]);

    private static void Check(Faults faults, string directory, string name, string sha256)
    {
        var parts = name.Split('/');
        var isKnown = parts.Length == 1 ? RootFiles.Contains(name)
            : parts.Length == 2 && MixturePart.IsName(parts[0]) && PartFiles.Contains(parts[1]);
        if (isKnown)
            BundleFiles.Compare(faults, directory, name, Path.Combine(directory, name), sha256);
        else
            faults.Add(
                Quote.Of(name), "a path",
                "the files of an exported mixture, such as expert_0/adapter_model.safetensors");
    }

    // The routers, and what the parts cannot hold: what was taken out of the base, and the one B behind cores.
    private static Dictionary<string, Tensor> RouterState(AdaptedModel adapted) => adapted.State
        .Where(pair => pair.Name.Contains(".router.", StringComparison.Ordinal) || TakenOut.IsName(pair.Name)
            || pair.Name.EndsWith(".lora_core", StringComparison.Ordinal))
        .Concat(adapted.Modules.Where(module => module.Cores is not null)
            .Select(module => (Name: $"{module.Path}.lora_B", Tensor: (Tensor)module.Up)))
        .ToDictionary(
            pair => BundleTensors.NameInFile(pair.Name, isPlainLora: false), pair => pair.Tensor,
            StringComparer.Ordinal);
}

/// <summary>What one directory of an exported mixture holds: one expert, or the projections that are not
/// routed.</summary>
/// <param name="Name">The directory's name.</param>
/// <param name="Expert">The expert that a router chooses; null for a part that every token gets.</param>
/// <param name="Modules">The projections that have it.</param>
public sealed record MixturePart(string Name, int? Expert, IReadOnlyList<MixtureProjection> Modules)
{
    /// <summary>Directory of the projections without a router.</summary>
    public const string Shared = "shared";

    private const string ExpertPrefix = "expert_";
    private const string SharedPrefix = "shared_expert_";

    /// <summary>Which of the shared experts it is, from 0; null where it is none of them.</summary>
    public int? SharedExpert { get; init; }

    /// <summary>Whether it is the projections without a router.</summary>
    public bool IsUnrouted => Expert is null && SharedExpert is null;

    /// <summary>Its place among the experts of a projection that has it.</summary>
    public int IndexIn(MixtureProjection module) =>
        SharedExpert is { } shared ? module.Shape.Experts + shared : Expert ?? 0;

    /// <summary>Directory of a shared expert.</summary>
    public static string NameOfShared(int expert) => SharedPrefix + expert.ToString(CultureInfo.InvariantCulture);

    /// <summary>Directory of an expert.</summary>
    public static string NameOf(int expert) => ExpertPrefix + expert.ToString(CultureInfo.InvariantCulture);

    /// <summary>Whether a directory of an exported mixture may have this name.</summary>
    public static bool IsName(string name) =>
        name == Shared
            || IsNumbered(name, ExpertPrefix, ExpertOptions.Most)
            || IsNumbered(name, SharedPrefix, ExpertOptions.MostShared);

    /// <summary>The parts of a mixture: what is not routed first where there is some, then the experts, then the shared
    /// ones.</summary>
    public static IReadOnlyList<MixturePart> Of(AdaptedModel adapted)
    {
        var parts = new List<MixturePart>();
        if (adapted.Modules.Where(module => module.Router is null).ToList() is { Count: > 0 } shared)
            parts.Add(new MixturePart(Shared, null, shared));
        var routed = adapted.Modules.Where(module => module.Router is not null).ToList();
        for (var expert = 0; expert < routed.Select(module => module.Shape.Experts).DefaultIfEmpty(0).Max(); expert++)
            parts.Add(
                new MixturePart(NameOf(expert), expert, [.. routed.Where(module => module.Shape.Experts > expert)]));
        for (var expert = 0; expert < routed.Select(module => module.Shape.Shared).DefaultIfEmpty(0).Max(); expert++)
            parts.Add(new MixturePart(NameOfShared(expert), null, routed) { SharedExpert = expert });
        return parts;
    }

    private static bool IsNumbered(string name, string prefix, int most) =>
        name.StartsWith(prefix, StringComparison.Ordinal)
        && int.TryParse(name.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
        && number < most
        && prefix + number.ToString(CultureInfo.InvariantCulture) == name;
}

/// <summary>The tensors of an exported mixture, each put together from the parts that hold it.</summary>
internal sealed class MixtureTensors : SavedTensors
{
    private readonly string _manifest;
    private readonly AdapterOptions _options;
    private readonly Dictionary<string, SavedTensors> _parts;
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private string? _missing;
    private string? _unlike;

    public MixtureTensors(string directory, BundleManifest manifest, string advice)
        : this(directory, manifest, SafetensorsFile.Open(Path.Combine(directory, MixtureDirectory.RouterFile)), advice)
    {
    }

    private MixtureTensors(string directory, BundleManifest manifest, SafetensorsFile router, string advice)
        : base(router.Path, router.Entries, isPlainLora: false, advice)
    {
        (_manifest, _options) = (Path.Combine(directory, MixtureDirectory.Manifest), manifest.Adapter);
        _parts = MixtureDirectory.PartNames(manifest).ToDictionary(name => name, name =>
        {
            var file = SafetensorsFile.Open(Path.Combine(directory, name, BundleFiles.Weights));
            return new SavedTensors(file.Path, file.Entries, isPlainLora: true, advice);
        }, StringComparer.Ordinal);
    }

    public override Tensor Take(string name, ScalarType dtype, long[] shape, Func<Tensor> first)
    {
        var isDown = name.EndsWith(".lora_A", StringComparison.Ordinal);
        if (!isDown && !name.EndsWith(".lora_B", StringComparison.Ordinal))
            return base.Take(name, dtype, shape, first);
        var path = name[..name.LastIndexOf('.')];
        long rank = TargetSelection.RankOf(_options, path);
        // A part has what was taken out of the base as further ranks.
        var ranks = rank + LengthOf($"{path}.{TakenOut.DownName}");
        long[] Sized(long length) => isDown ? [length, shape[1]] : [shape[0], length];
        Tensor Own(SavedTensors part)
        {
            var whole = part.Take(name, dtype, Sized(ranks), first);
            return ranks > rank && whole.shape.SequenceEqual(Sized(ranks))
                ? whole.narrow(isDown ? 0 : 1, 0, rank).clone() : whole;
        }

        if (_parts.TryGetValue(MixturePart.Shared, out var shared) && shared.Holds(name))
        {
            _used.Add(MixturePart.Shared);
            return Own(shared);
        }

        var taken = new List<Tensor>();
        if (isDown && _options.Router is { Sharing.HasOneDown: true })
            return TakeShared(name, dtype, shape, first);
        if (_options.Router is { Sharing.HasCores: true })
            return TakeBehindCores(name, dtype, shape, first);
        var experts = shape[isDown ? 0 : 1] / rank;
        var routed = experts - _options.Experts.Shared;
        for (var expert = 0; expert < experts && _missing is null; expert++)
        {
            var part = expert < routed
                ? MixturePart.NameOf(expert) : MixturePart.NameOfShared((int)(expert - routed));
            if (_parts.TryGetValue(part, out var file) && _used.Add(part) is var _)
                taken.Add(Own(file));
            else
                _missing = part;
        }

        return _missing is null && taken.TrueForAll(tensor => tensor.shape.SequenceEqual(Sized(rank)))
            ? torch.cat(taken, isDown ? 0 : 1)
            : Unusable();
    }

    public override Tensor? TakeIfHeld(string name, ScalarType dtype, long[] shape) =>
        _parts.Values.Any(part => part.Holds(name)) ? Take(name, dtype, shape, Unusable)
            : base.TakeIfHeld(name, dtype, shape);

    // The one B is beside the routers; each part holds it with its expert's core in it.
    private Tensor TakeBehindCores(string name, ScalarType dtype, long[] shape, Func<Tensor> first)
    {
        foreach (var (part, file) in _parts.Where(part => part.Value.Holds(name)))
        {
            _used.Add(part);
            file.Take(name, dtype, shape, first);
        }

        return base.Take(name, dtype, shape, first);
    }

    // The A that all experts have together: each part holds a copy.
    private Tensor TakeShared(string name, ScalarType dtype, long[] shape, Func<Tensor> first)
    {
        Tensor? taken = null;
        foreach (var (part, file) in _parts.Where(part => part.Value.Holds(name)))
        {
            _used.Add(part);
            var copy = file.Take(name, dtype, shape, first);
            if (taken is not null && copy.shape.SequenceEqual(taken.shape) && !copy.SameAs(taken))
                _unlike ??= $"{part}: {name}";
            taken ??= copy;
        }

        _missing ??= taken is null ? MixturePart.NameOf(0) : null;
        return taken ?? Unusable();
    }

    public override void Finish()
    {
        if (_unlike is not null)
            throw UserException.At(
                _manifest, $"{_unlike} has other numbers", "the one lora_A that all experts have together",
                "take the files as they were written");
        if (_missing is not null)
            throw UserException.At(_manifest, $"lists no {_missing}", "every part of the mixture", "export it again");
        if (_parts.Keys.Where(name => !_used.Contains(name)).ToList() is { Count: > 0 } unused)
            throw UserException.At(
                _manifest, $"lists {Words.AllOf(unused)}", "only parts of the mixture", "export it again");
        foreach (var part in _parts.Values)
            part.Finish();
        base.Finish();
    }
}
