using System.Text.Json;
using Peft.Formats.Tokenizers;

namespace Peft.Tests;

/// <summary>Text that is token ids written out: "3 17 5". Makes vocabularies of any size.</summary>
public static class NumberTokenizer
{
    /// <summary>Makes one of so many ids, whose template begins a text with one of them if asked.</summary>
    public static HuggingFaceTokenizer Of(int size, int? bos = null)
    {
        var text = new { Sequence = new { id = "A", type_id = 0 } };
        var start = new { SpecialToken = new { id = "bos", type_id = 0 } };
        object[] template = bos is null ? [text] : [start, text];
        var names = Enumerable.Range(0, size).ToDictionary(id => $"{id}");
        var file = new
        {
            added_tokens = bos is { } id
                ? new[] { new { id, content = $"{id}", special = true, single_word = true, normalized = false } } : [],
            pre_tokenizer = new { type = "WhitespaceSplit" },
            post_processor = new
            {
                type = "TemplateProcessing",
                single = template,
                pair = template,
                special_tokens =
                    new { bos = new { id = "bos", ids = new[] { bos ?? 0 }, tokens = new[] { $"{bos ?? 0}" } } },
            },
            decoder = new { type = "WordPiece", prefix = "##", cleanup = false },
            model = new { type = "WordPiece", vocab = names, unk_token = "0" },
        };
        var folder = Directory.CreateTempSubdirectory("peft-numbers-");
        try
        {
            File.WriteAllText(Path.Combine(folder.FullName, "tokenizer.json"), JsonSerializer.Serialize(file));
            return HuggingFaceTokenizer.Load(folder.FullName);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
