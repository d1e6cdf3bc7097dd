using Peft.Formats;
using Peft.Formats.Safetensors;
using Peft.Models;

namespace Peft.Adapters.Bundles;

/// <summary>Weights of the base that PEFT stores beside an adapter on the head or the embeddings (<c>save_embedding_layers</c>).</summary>
/// <remarks>
/// Source: huggingface/peft 5d602fd, <c>get_peft_model_state_dict</c>. Where they equal the base's own they say nothing and are left
/// out; changed ones stay among the tensors and are refused like any fully trained module.
/// </remarks>
internal static class SavedBase
{
    private const string Prefix = "base_model.model.";

    /// <summary>The entries without copies of the base's own weights.</summary>
    public static IReadOnlyDictionary<string, SafetensorsEntry> Without(
        CausalLanguageModel model, IReadOnlyDictionary<string, SafetensorsEntry> entries, Action<string> warn)
    {
        var others = entries.Values.Where(entry => !entry.Name.Contains(".lora_", StringComparison.Ordinal)).ToList();
        if (others.Count == 0)
            return entries;
        var weights = model.StateDict().ToDictionary(pair => pair.Name, pair => pair.Tensor, StringComparer.Ordinal);
        weights.TryAdd(model.HeadProjection.Path + ".weight", model.HeadWeight);
        var kept = entries.ToDictionary(StringComparer.Ordinal);
        foreach (var entry in others)
        {
            if (!entry.Name.StartsWith(Prefix, StringComparison.Ordinal))
                continue;
            var name = entry.Name[Prefix.Length..].Replace(".base_layer.", ".", StringComparison.Ordinal);
            if (!weights.TryGetValue(name, out var own) || !IsCopy(entry, own))
                continue;
            kept.Remove(entry.Name);
            warn($"{entry.FilePath}: {entry.Name} is the base's own weight and has no effect");
        }
        return kept;
    }

    private static bool IsCopy(SafetensorsEntry entry, Tensor own)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        return entry.Shape.SequenceEqual(own.shape)
            && BundleTensors.Read(new Faults(), entry) is { } stored
            && stored.to(own.dtype).SameAs(own.to(torch.CPU));
    }
}
