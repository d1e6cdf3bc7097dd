using System.Text.Json;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;
using Peft.Models;
using Peft.Recipes.Transfer;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests.Transfer;

/// <summary>Adapters that PEFT itself wrote, on bases that transformers wrote.</summary>
public sealed class VectorAdapterTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose()
    {
        _scope.Dispose();
        _folder.Dispose();
    }

    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void An_imported_adapter_gives_pefts_logits_and_goes_out_again_bit_for_bit(string name)
    {
        var (model, adapter) = (VectorModels.Folder(name), Path.Combine(VectorModels.Folder(name), "adapter"));

        AdapterImport.Run(adapter, model, _folder["bundle"], overwrite: false, _ => { });
        AdapterExport.Run(new() { Adapter = _folder["bundle"], Base = model, Output = _folder["out"] }, _ => { });
        AdapterExport.Run(
            new() { Adapter = _folder["bundle"], Base = model, Output = _folder["merged"], Format = "merged" }, _ =>
            { });

        Assert.All(new[] { ("bundle", model), ("out", model) },
            pair => Assert.InRange(
            Difference(model, LoadedModel.Open(pair.Item2, _folder[pair.Item1], "float32", torch.CPU)), 0, 1e-4));
        Assert.InRange(Difference(model, LoadedModel.Open(_folder["merged"], null, "float32", torch.CPU)), 0, 2e-4);
        Assert.Equal(Tensors(adapter), Tensors(_folder["out"]));
    }

    [SharedTheory]
    [InlineData("gpt2")]
    [InlineData("mamba")]
    [InlineData("t5-tied")]
    public void A_base_of_another_architecture_is_named(string name)
    {
        var (model, adapter) = (SharedAssets.Path("vectors", "models", name),
            SharedAssets.Path("vectors", "models", name, "adapter"));

        var own = Record.Exception(() => AdapterImport.Run(adapter, model, _folder["own"], overwrite: false, _ => { }));
        var other = Assert.ThrowsAny<UserException>(
            () => AdapterImport.Run(adapter, SharedAssets.Path("vectors", "models", "llama-gqa"), _folder["other"],
                overwrite: false, _ => { }));

        if (ModelCatalog.Families.All(family => family.ModelType != ModelConfigFile.Read(model).ModelType))
            Assert.Contains("is not supported", Assert.IsAssignableFrom<UserException>(own).Message,
                StringComparison.Ordinal);
        Assert.NotEmpty(other.Message);
        Assert.False(Directory.Exists(_folder["other"]));
    }

    private static double Difference(string vector, LoadedModel loaded)
    {
        using (loaded)
        {
            var expected = SafetensorsFile.Open(Path.Combine(vector, "expected.safetensors"));
            using var off = torch.no_grad();
            var found = loaded.Model.Forward(Read(expected, "ids"), ForwardPass.ForInference());
            return (found - Read(expected, "adapter.logits")).abs().max().ToDouble();
        }
    }

    private static Tensor Read(SafetensorsFile file, string name)
    {
        var entry = file.Entries[name];
        return MappedFile.Read(file.Path, entry.Offset, [.. entry.Shape],
            entry.Dtype == SafetensorsDtype.I64 ? ScalarType.Int64 : ScalarType.Float32);
    }

    private static Dictionary<string, string> Tensors(string directory)
    {
        var file = SafetensorsFile.Open(Path.Combine(directory, "adapter_model.safetensors"));
        return file.Entries.Keys.ToDictionary(name => name,
            name => $"{JsonSerializer.Serialize(file.Entries[name].Shape)} "
                + $"{Convert.ToHexString(file.ReadBytes(name))}");
    }
}
