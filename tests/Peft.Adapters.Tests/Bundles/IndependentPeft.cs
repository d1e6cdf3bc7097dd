using System.Buffers.Binary;
using System.Text.Json;
using System.Text.RegularExpressions;
using Peft.Models;

namespace Peft.Adapters.Tests.Bundles;

/// <summary>
/// A reader of PEFT's LoRA directories that shares no code with the product: written from the description of the
/// format. It knows float32, lists and patterns of ranks and alphas, and rsLoRA, and adds <c>scaling · B A</c> to the
/// base's weights.
/// </summary>
internal static class IndependentPeft
{
    /// <summary>Logits of a base with a directory's adapter.</summary>
    public static Tensor Logits(CausalLanguageModel model, string directory)
    {
        using (torch.no_grad())
        {
            var weights = model.StateDict().ToDictionary(pair => pair.Name, pair => pair.Tensor);
            foreach (var (module, delta) in Deltas(directory))
                weights[module + ".weight"].add_(delta);
        }
        return TinyModel.Logits(model);
    }

    private static IEnumerable<(string Module, Tensor Delta)> Deltas(string directory)
    {
        using var config = JsonDocument.Parse(File.ReadAllText(Path.Combine(directory, "adapter_config.json")));
        var root = config.RootElement;
        Assert.Equal("LORA", root.GetProperty("peft_type").GetString());
        var tensors = Tensors(Path.Combine(directory, "adapter_model.safetensors"));
        foreach (
            var (name, down) in tensors.Where(pair => pair.Key.EndsWith(".lora_A.weight", StringComparison.Ordinal)))
        {
            var module = name["base_model.model.".Length..^".lora_A.weight".Length];
            var rank = ByPattern(root, "rank_pattern", module, root.GetProperty("r").GetDouble());
            var alpha = ByPattern(root, "alpha_pattern", module, root.GetProperty("lora_alpha").GetDouble());
            Assert.Equal(rank, down.shape[0]);
            Assert.True(IsTargeted(root.GetProperty("target_modules"), module), module);
            var scaling = root.GetProperty("use_rslora").GetBoolean() ? alpha / Math.Sqrt(rank) : alpha / rank;
            yield return (module, tensors[$"base_model.model.{module}.lora_B.weight"].matmul(down) * scaling);
        }
    }

    private static bool IsTargeted(JsonElement targets, string module) => targets.ValueKind == JsonValueKind.String
        ? Regex.IsMatch(module, $"^(?:{targets.GetString()})$")
        : targets.EnumerateArray()
            .Any(name =>
                module == name.GetString() || module.EndsWith("." + name.GetString(), StringComparison.Ordinal));

    private static double ByPattern(JsonElement root, string key, string module, double fallback)
    {
        foreach (var pattern in root.GetProperty(key).EnumerateObject())
        {
            if (Regex.IsMatch(module, $@"^(.*\.)?({pattern.Name})$"))
                return pattern.Value.GetDouble();
        }
        return fallback;
    }

    private static Dictionary<string, Tensor> Tensors(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var length = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        using var header = JsonDocument.Parse(bytes.AsMemory(8, length));
        var tensors = new Dictionary<string, Tensor>();
        foreach (var entry in header.RootElement.EnumerateObject().Where(entry => entry.Name != "__metadata__"))
        {
            Assert.Equal("F32", entry.Value.GetProperty("dtype").GetString());
            var offsets = entry.Value.GetProperty("data_offsets");
            var (begin, end) = (offsets[0].GetInt32(), offsets[1].GetInt32());
            var values = new float[(end - begin) / 4];
            Buffer.BlockCopy(bytes, 8 + length + begin, values, 0, end - begin);
            tensors[entry.Name] = torch.tensor(
                values, [.. entry.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())]);
        }
        return tensors;
    }
}
