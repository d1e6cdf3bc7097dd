using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>The vectors that <c>peft gate</c> leaves with an adapter, one a module and kind.</summary>
public static class GateVectors
{
    /// <summary>The gate trained behind a sigmoid.</summary>
    public const string Gate = "gate";

    /// <summary>The mean input of the adapter's data.</summary>
    public const string MeanInput = "mean_input";
}

/// <summary>What the task of an adapter is, in words and as a vector.</summary>
/// <param name="Text">In words; empty where the vector alone is known.</param>
/// <param name="IsGiven">Whether the vector was given; otherwise the base embedded the words.</param>
/// <param name="Vector">The vector.</param>
public sealed record TaskEmbedding(string Text, bool IsGiven, IReadOnlyList<float> Vector)
{
    /// <summary>What a merge calls the words of one of its adapters among its settings.</summary>
    internal static string SettingOf(string adapter) => $"task of {adapter}";
}

/// <summary>The vectors that a token is compared with when this adapter is one of several: <c>gate.safetensors</c> in
/// its directory.</summary>
/// <remarks>
/// Per module <c>base_model.model.PATH.gate</c> and <c>….mean_input</c>, [D] float32, and
/// <c>task</c> [M], what the adapter's task was described as. Its metadata holds the hash of the adapter's tensors: a
/// gate of other tensors is no gate. In a bundle the manifest lists the file.
/// </remarks>
public static class GateFile
{
    /// <summary>The file's name.</summary>
    public const string Name = "gate.safetensors";

    private const string AdapterHash = "adapter_sha256";
    private const string TaskName = "task";
    private const string TaskText = "task";
    private const string TaskOrigin = "task_vector";
    private const string Given = "given";
    private const string Embedded = "base";

    /// <summary>Writes the vectors beside an adapter; in a bundle together with its manifest, so that a crash leaves
    /// both or neither.</summary>
    /// <param name="directory">The adapter's directory.</param>
    /// <param name="vectors">Module path, kind (<see cref="GateVectors"/>) and vector [D].</param>
    /// <param name="task">What the adapter's task is; null: unknown.</param>
    public static void Write(
        string directory, IReadOnlyList<(string Path, string Kind, Tensor Vector)> vectors, TaskEmbedding? task = null)
    {
        var metadata = new Dictionary<string, string>
        {
            [AdapterHash] = Sha256.OfFile(BundleFiles.PathOf(directory, BundleFiles.Weights))
        };
        List<SafetensorsWrite> tensors = [.. vectors.Select(vector => new SafetensorsWrite(
            NameOf(vector.Path, vector.Kind), SafetensorsDtype.F32, vector.Vector.shape, vector.Vector.WriteBytes))];
        using var words = task is null ? null : torch.tensor(task.Vector.ToArray(), [task.Vector.Count]);
        if (task is not null)
        {
            (metadata[TaskText], metadata[TaskOrigin]) = (task.Text, task.IsGiven ? Given : Embedded);
            tensors.Add(new(TaskName, SafetensorsDtype.F32, words!.shape, words.WriteBytes));
        }

        if (!BundleFiles.IsBundle(directory))
        {
            SafetensorsWriter.WriteFile(Path.Combine(directory, Name), tensors, metadata);
            return;
        }
        BundleFiles.FinishMove(directory);
        var manifest = BundleManifest.Read(Path.Combine(directory, BundleFiles.Manifest));
        BundleFiles.Replace(directory, folder =>
        {
            var file = Path.Combine(folder, Name);
            SafetensorsWriter.WriteFile(file, tensors, metadata);
            manifest = manifest with
            {
                Files = [
                    .. manifest.Files.Where(entry => entry.Key != Name),
                    KeyValuePair.Create(Name, Sha256.OfFile(file))],
            };
            BundleFiles.WriteText(folder, BundleFiles.Manifest, manifest.ToJson());
        });
    }

    /// <summary>The vectors of one kind by module path; null where the directory has none, or none of these
    /// tensors.</summary>
    /// <exception cref="UserException">The file is damaged, or belongs to other tensors.</exception>
    public static IReadOnlyDictionary<string, SafetensorsEntry>? Read(string directory, string kind) =>
        Open(directory)?.Entries.Values
            .Select(entry => (Path: PathOf(entry.Name, kind), Entry: entry))
            .Where(pair => pair.Path is not null)
            .ToDictionary(pair => pair.Path!, pair => pair.Entry, StringComparer.Ordinal);

    /// <summary>What an adapter's task was described as; null where nobody did.</summary>
    /// <exception cref="UserException">The file is damaged, or belongs to other tensors.</exception>
    public static TaskEmbedding? TaskOf(string directory)
    {
        if (Open(directory) is not { } file || !file.Entries.TryGetValue(TaskName, out var entry))
            return null;
        using var scope = torch.NewDisposeScope();
        var faults = new Faults();
        var vector = BundleTensors.Read(faults, entry)?.to(torch.float32).contiguous();
        faults.ThrowIfAny(file.Path);
        return new(
            file.Metadata.GetValueOrDefault(TaskText, ""), file.Metadata.GetValueOrDefault(TaskOrigin) == Given,
            [.. vector!.Values<float>()]);
    }

    /// <summary>The same, null also where the file cannot be used: a new gate is to take its place.</summary>
    public static TaskEmbedding? TaskToKeep(string directory)
    {
        try
        {
            return TaskOf(directory);
        }
        catch (UserException)
        {
            return null;
        }
    }

    /// <summary>Says what an adapter's task is, beside the vectors that it has.</summary>
    /// <exception cref="UserException">It has none.</exception>
    public static void Describe(string directory, TaskEmbedding task)
    {
        using var scope = torch.NewDisposeScope();
        var vectors = VectorsIn(directory);
        if (vectors.Count == 0)
            throw UserException.At(
                directory, "no gate", "a trained gate, which the description stands beside",
                $"train it: peft gate --adapter {directory} --describe TEXT");
        Write(directory, vectors, task);
    }

    private static SafetensorsFile? Open(string directory)
    {
        var path = BundleFiles.PathOf(directory, Name);
        if (!File.Exists(path))
            return null;
        var listed = BundleFiles.IsBundle(directory)
            ? BundleManifest.Read(BundleFiles.PathOf(directory, BundleFiles.Manifest)).Files.ToDictionary()
            : null;
        if (listed?.ContainsKey(Name) == false)
            return null; // of an earlier adapter in this directory
        var file = SafetensorsFile.Open(path);
        var weights = listed?.GetValueOrDefault(BundleFiles.Weights)
            ?? Sha256.OfFile(Path.Combine(directory, BundleFiles.Weights));
        if (!file.Metadata.TryGetValue(AdapterHash, out var hash) || hash != weights)
            throw UserException.At(
                path, $"trained for other tensors than those of {BundleFiles.Weights}", null,
                $"train it again: peft gate --adapter {directory}");
        return file;
    }

    /// <summary>Writes the vectors of one adapter beside another of the same tensors; nothing where it has
    /// none.</summary>
    /// <exception cref="UserException">The file is damaged, or belongs to other tensors.</exception>
    public static void Copy(string from, string to)
    {
        using var scope = torch.NewDisposeScope();
        var vectors = VectorsIn(from);
        if (vectors.Count > 0)
            Write(to, vectors, TaskOf(from));
    }

    private static List<(string Path, string Kind, Tensor Vector)> VectorsIn(string from)
    {
        var faults = new Faults();
        var vectors = new List<(string Path, string Kind, Tensor Vector)>();
        foreach (var kind in new[] { GateVectors.Gate, GateVectors.MeanInput })
        {
            foreach (var (path, entry) in Read(from, kind) ?? new Dictionary<string, SafetensorsEntry>())
            {
                if (BundleTensors.Read(faults, entry) is { } vector)
                    vectors.Add((path, kind, vector));
            }
        }
        faults.ThrowIfAny(Path.Combine(from, Name));
        return vectors;
    }

    private static string NameOf(string path, string kind) => $"{BundleTensors.Prefix}{path}.{kind}";

    private static string? PathOf(string name, string kind) =>
        name.StartsWith(BundleTensors.Prefix, StringComparison.Ordinal)
            && name.EndsWith("." + kind, StringComparison.Ordinal)
            ? name[BundleTensors.Prefix.Length..^(kind.Length + 1)]
            : null;
}
