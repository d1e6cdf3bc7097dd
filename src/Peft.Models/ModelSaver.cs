using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;
using Peft.Models.Loading;
using Peft.Torch;

namespace Peft.Models;

/// <summary>Writes a model as a full checkpoint in Hugging Face layout.</summary>
public static class ModelSaver
{
    private static readonly Dictionary<string, string> Metadata = new() { ["format"] = "pt" };

    /// <summary>Writes config.json and model.safetensors, one tensor in memory at a time.</summary>
    /// <param name="directory">The folder; made when absent.</param>
    /// <param name="model">The model.</param>
    /// <param name="config">config.json's content; its type of numbers is replaced by <paramref name="dtype"/>.</param>
    /// <param name="dtype">Type to store every tensor in.</param>
    /// <param name="transform">
    /// Gets a tensor's name and value, returns what to store (the same shape), for example with an adapter merged in; null: as it is.
    /// </param>
    public static void Save(
        string directory, CausalLanguageModel model, ConfigMap config, ScalarType dtype, Func<string, Tensor, Tensor>? transform = null)
    {
        Directory.CreateDirectory(directory);
        var writes = model.StateDict().Select(entry => new SafetensorsWrite(
            entry.Name, DtypeNames.ToSafetensors(dtype), entry.Tensor.shape,
            stream => Write(stream, entry.Name, entry.Tensor, dtype, transform))).ToList();
        SafetensorsWriter.WriteFile(Path.Combine(directory, "model.safetensors"), writes, Metadata);
        var key = config["dtype"] is not null && config["torch_dtype"] is null ? "dtype" : "torch_dtype";
        var written = config.With(key, ConfigScalar.Of(DtypeNames.ToConfig(dtype)));
        AtomicFile.WriteText(Path.Combine(directory, "config.json"), ConfigText.ToJson(written));
    }

    private static void Write(
        Stream stream, string name, Tensor tensor, ScalarType dtype, Func<string, Tensor, Tensor>? transform)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var value = transform?.Invoke(name, tensor) ?? tensor;
        if (!value.shape.SequenceEqual(tensor.shape))
        {
            throw new InvalidOperationException(
                $"{name}: to be stored as [{string.Join(", ", value.shape)}], the model has [{string.Join(", ", tensor.shape)}]");
        }

        value.detach().to(torch.CPU).to(dtype).contiguous().WriteBytes(stream);
    }
}
