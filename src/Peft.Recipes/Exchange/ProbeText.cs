using System.Text;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Recipes.Exchange;

/// <summary>The tokens that an export is proven on.</summary>
public static class ProbeText
{
    private const int Longest = 128; // tokens
    private const long LargestFile = 1L << 20; // bytes: far more than these tokens
    private const string Text =
        "The mill by the river has stood since 1847. In spring, when snow melts in the hills, its wheel turns 12 times a minute; in a dry "
        + "August it stands still. Q: What is 17 + 25? A: 42. def area(width, height): return width * height  # square metres";

    /// <summary>Ids of a text file, or of a built-in text; without a tokenizer, ids spread over the vocabulary.</summary>
    /// <remarks>Shapes: [1, T] int64.</remarks>
    /// <exception cref="UserException">The file cannot be read, or is empty.</exception>
    public static Tensor Of(LoadedModel loaded, string? file, Action<string> say)
    {
        ArgumentNullException.ThrowIfNull(loaded);
        ArgumentNullException.ThrowIfNull(say);
        var config = loaded.Model.Config;
        var most = Math.Min(Longest, config.MaxPositionEmbeddings);
        int[] ids;
        if (file is null && !File.Exists(Path.Combine(loaded.BaseDirectory, "tokenizer.json")))
        {
            say($"{loaded.BaseDirectory}: has no tokenizer.json - proven on token ids spread over the vocabulary");
            ids = [.. Enumerable.Range(0, most).Select(i => (int)((long)i * config.VocabularySize / most))];
        }
        else
        {
            var text = file is null ? Text : Encoding.UTF8.GetString(BoundedFile.ReadAllBytes(file, LargestFile));
            ids = [.. loaded.Tokenizer.EncodeToIds(text).Take(most)];
            if (ids.Length == 0)
                throw new UserException($"{file}: no tokens - a text of at least one token - choose another with --text");
            config.CheckIds(ids);
        }
        return torch.tensor([.. ids.Select(id => (long)id)], [1, ids.Length]);
    }
}
