using System.Text.RegularExpressions;
using Peft.Formats.Safetensors;

namespace Peft.Formats.HuggingFace;

/// <summary>The tensors of an adapter in Hugging Face's layout, under the names that PEFT's <c>save_pretrained</c>
/// gives.</summary>
/// <remarks>
/// A state dict that was saved without <c>save_pretrained</c> has the adapter's name in its keys
/// (<c>q_proj.lora_A.default.weight</c> for <c>q_proj.lora_A.weight</c>). The name says nothing about the weights, so
/// it is taken out; two adapters in one file are refused.
/// </remarks>
public static partial class AdapterWeights
{
    /// <summary>The file of the weights in an adapter's directory.</summary>
    public const string FileName = "adapter_model.safetensors";

    /// <summary>Opens the weights in a directory.</summary>
    /// <exception cref="UserException">As for <see cref="SafetensorsCheckpoint.Open"/>, or the file holds several
    /// adapters.</exception>
    public static SafetensorsCheckpoint Open(string directory)
    {
        var checkpoint = SafetensorsCheckpoint.Open(directory, FileName);
        var named = checkpoint.Entries.Keys
            .Select(name => (Name: name, Match: AdapterName().Match(name)))
            .Where(tensor => tensor.Match.Success)
            .ToDictionary(tensor => tensor.Name, tensor => tensor.Match, StringComparer.Ordinal);
        if (named.Count == 0)
            return checkpoint;
        var adapters = named.Values.Select(match => match.Groups["adapter"]).Where(adapter => adapter.Success)
            .Select(adapter => adapter.Value).Distinct().Order(StringComparer.Ordinal).ToList();
        if (adapters.Count > 1)
        {
            throw UserException.At(
                checkpoint.Files[0],
                $"tensors of {Words.Count(adapters.Count, "adapter")} "
                    + $"({Words.AllOf([.. adapters.Take(4).Select(Quote.Of)])})",
                "those of one adapter", "save each by itself with PEFT's save_pretrained(selected_adapters=[...])");
        }

        var collision = named.FirstOrDefault(tensor => checkpoint.Entries.ContainsKey(Without(tensor.Value)));
        if (collision.Key is not null)
        {
            throw UserException.At(
                checkpoint.Files[0],
                $"both {Quote.Of(collision.Key)} and {Quote.Of(Without(collision.Value))}", "one of the two",
                "save the adapter again with PEFT's save_pretrained");
        }

        return checkpoint.Renamed(name => named.TryGetValue(name, out var match) ? Without(match) : name);
    }

    private static string Without(Match match) => match.Groups["before"].Value + match.Groups["after"].Value;

    // PEFT's own parts only: a mixture's lora_A.experts has no .weight behind it. Magnitudes are lora_magnitude_vector
    // in files; in a state they have the adapter's name behind it (old releases), and .weight too (new ones).
    [GeneratedRegex(
        @"^(?<before>.*\.lora_(A|B|embedding_A|embedding_B))\.(?<adapter>[^.]+)(?<after>\.weight)$"
        + @"|^(?<before>.*\.lora_magnitude_vector)(\.(?<adapter>(?!weight$)[^.]+)(\.weight)?|\.weight)$")]
    private static partial Regex AdapterName();
}
