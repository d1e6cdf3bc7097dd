using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests.Transfer;

/// <summary>A tiny base on disk and bundles on it, with random experts.</summary>
public sealed class TinyAdapters : IDisposable
{
    private readonly TinyProject _project = new();

    internal TempFolder Folder => _project.Folder;

    public string Base => Folder["base"];

    /// <summary>Writes a bundle.</summary>
    /// <param name="name">Its directory.</param>
    /// <param name="options">The recipe section <c>adapter</c> as JSON.</param>
    /// <param name="equalExperts">Whether the routers tell no expert apart.</param>
    /// <param name="gated">Whether a post-hoc gate stands in it.</param>
    /// <param name="beside">A file that stands in it too.</param>
    public string Write(
        string name, string options, bool equalExperts = false, bool gated = false, BundleFile? beside = null)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        using var model = ModelLoader.Load(Base);
        var faults = new Faults();
        var read = AdapterOptions.Read(new OptionReader(ConfigJson.Parse(options, "options"), "", faults));
        faults.ThrowIfAny("options");
        var adapted = AdapterAttachment.Attach(model, read, seed: 1);
        foreach (var module in adapted.Modules)
        {
            module.Up.normal_(0, 0.3, Seeds.GeneratorFor(9, module.Path));
            foreach (var parameter in equalExperts ? module.Router?.parameters() ?? [] : [])
                parameter.zero_();
        }
        BundleWriter.Write(Folder[name], new BundleContents
        {
            Adapted = adapted,
            Base = new BaseIdentity(Base, ModelLoader.Fingerprint(Base)),
            ResolvedRecipe = "seed: 1\n",
            Seed = 1,
            Beside = beside is null ? [] : [beside],
        });
        if (gated)
            GateFile.Write(Folder[name],
                [.. adapted.Modules.SelectMany(
                module => new[] { GateVectors.Gate, GateVectors.MeanInput }.Select(kind =>
                (module.Path, kind,
                    torch.randn([module.InFeatures], generator: Seeds.GeneratorFor(2, name + module.Path + kind)))))]);
        return Folder[name];
    }

    /// <summary>Logits of the base with an adapter, or of a whole model.</summary>
    public float[] Logits(string model, string? adapter = null)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        using var loaded = LoadedModel.Open(model, adapter, "float32", torch.CPU);
        return loaded.Model.Forward(torch.tensor(new long[] { 3, 200, 7, 1, 90, 41, 41, 5 }, [1, 8]),
            ForwardPass.ForInference()).data<float>().ToArray();
    }

    /// <summary>Every file below a folder with its bytes' hash.</summary>
    public string Snapshot(string folder) => string.Join('\n', Directory
        .EnumerateFiles(folder, "*", SearchOption.AllDirectories)
        .Select(file => $"{Path.GetRelativePath(folder, file)} {Formats.Files.Sha256.OfFile(file)}")
        .Order(StringComparer.Ordinal));

    public void Dispose() => _project.Dispose();
}
