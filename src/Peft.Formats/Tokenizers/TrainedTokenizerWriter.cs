using System.Text.Encodings.Web;
using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Formats.Tokenizers;

/// <summary>Writes what was learned in Hugging Face's layout: tokenizer.json and tokenizer_config.json.</summary>
internal static class TrainedTokenizerWriter
{
    private static readonly JsonWriterOptions Layout = new()
    {
        Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static void Write(
        BpeTrainerOptions options, List<string> tokens, List<(int Left, int Right)> merges, string directory)
    {
        AtomicFile.Write(Path.Combine(directory, "tokenizer.json"), stream =>
        {
            using var json = new Utf8JsonWriter(stream, Layout);
            WriteTokenizer(json, options, tokens, merges);
        });
        AtomicFile.Write(Path.Combine(directory, "tokenizer_config.json"), stream =>
        {
            using var json = new Utf8JsonWriter(stream, Layout);
            WriteConfig(json, options);
        });
    }

    private static void WriteTokenizer(
        Utf8JsonWriter json, BpeTrainerOptions options, List<string> tokens, List<(int Left, int Right)> merges)
    {
        json.WriteStartObject();
        json.WriteString("version", "1.0");
        json.WriteNull("truncation");
        json.WriteNull("padding");
        WriteAddedTokens(json, options.SpecialTokens);
        json.WriteNull("normalizer");
        json.WritePropertyName("pre_tokenizer");
        WritePreTokenizer(json, options.Pattern);
        json.WritePropertyName("post_processor");
        WritePostProcessor(json, options);
        json.WritePropertyName("decoder");
        WriteByteLevel(json, splits: true);
        json.WriteStartObject("model");
        json.WriteString("type", "BPE");
        json.WriteNull("dropout");
        json.WriteNull("unk_token");
        json.WriteNull("continuing_subword_prefix");
        json.WriteNull("end_of_word_suffix");
        json.WriteBoolean("fuse_unk", false);
        json.WriteBoolean("byte_fallback", false);
        json.WriteBoolean("ignore_merges", false);
        json.WriteStartObject("vocab");
        for (var id = 0; id < tokens.Count; id++)
            json.WriteNumber(tokens[id], id);
        json.WriteEndObject();
        json.WriteStartArray("merges");
        // Byte-level tokens hold no space, so this form, which old readers know too, is never ambiguous.
        foreach (var (left, right) in merges)
            json.WriteStringValue($"{tokens[left]} {tokens[right]}");
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteAddedTokens(Utf8JsonWriter json, IReadOnlyList<string> specialTokens)
    {
        json.WriteStartArray("added_tokens");
        for (var id = 0; id < specialTokens.Count; id++)
        {
            json.WriteStartObject();
            json.WriteNumber("id", id);
            json.WriteString("content", specialTokens[id]);
            json.WriteBoolean("single_word", false);
            json.WriteBoolean("lstrip", false);
            json.WriteBoolean("rstrip", false);
            json.WriteBoolean("normalized", false);
            json.WriteBoolean("special", true);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WritePreTokenizer(Utf8JsonWriter json, BpePattern pattern)
    {
        if (pattern == BpePattern.Gpt2)
        {
            WriteByteLevel(json, splits: true);
            return;
        }

        json.WriteStartObject();
        json.WriteString("type", "Sequence");
        json.WriteStartArray("pretokenizers");
        json.WriteStartObject();
        json.WriteString("type", "Split");
        json.WriteStartObject("pattern");
        json.WriteString("Regex", Llama3Scanner.Llama3Pattern);
        json.WriteEndObject();
        json.WriteString("behavior", "Isolated");
        json.WriteBoolean("invert", false);
        json.WriteEndObject();
        WriteByteLevel(json, splits: false);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WritePostProcessor(Utf8JsonWriter json, BpeTrainerOptions options)
    {
        if (!options.AddsBos)
        {
            WriteByteLevel(json, splits: true);
            return;
        }

        var bos = options.BosToken!;
        json.WriteStartObject();
        json.WriteString("type", "TemplateProcessing");
        json.WriteStartArray("single");
        WritePiece(json, "SpecialToken", bos, 0);
        WritePiece(json, "Sequence", "A", 0);
        json.WriteEndArray();
        json.WriteStartArray("pair");
        WritePiece(json, "SpecialToken", bos, 0);
        WritePiece(json, "Sequence", "A", 0);
        WritePiece(json, "SpecialToken", bos, 1);
        WritePiece(json, "Sequence", "B", 1);
        json.WriteEndArray();
        json.WriteStartObject("special_tokens");
        json.WriteStartObject(bos);
        json.WriteString("id", bos);
        json.WriteStartArray("ids");
        json.WriteNumberValue(options.SpecialTokens.ToList().IndexOf(bos));
        json.WriteEndArray();
        json.WriteStartArray("tokens");
        json.WriteStringValue(bos);
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WritePiece(Utf8JsonWriter json, string kind, string id, int type)
    {
        json.WriteStartObject();
        json.WriteStartObject(kind);
        json.WriteString("id", id);
        json.WriteNumber("type_id", type);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteByteLevel(Utf8JsonWriter json, bool splits)
    {
        json.WriteStartObject();
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", false);
        json.WriteBoolean("trim_offsets", true);
        json.WriteBoolean("use_regex", splits);
        json.WriteEndObject();
    }

    private static void WriteConfig(Utf8JsonWriter json, BpeTrainerOptions options)
    {
        json.WriteStartObject();
        json.WriteString("tokenizer_class", "PreTrainedTokenizerFast");
        json.WriteString("bos_token", options.BosToken);
        json.WriteString("eos_token", options.EosToken);
        json.WriteString("pad_token", options.PadToken);
        json.WriteBoolean("add_bos_token", options.AddsBos);
        json.WriteBoolean("clean_up_tokenization_spaces", false);
        // What Hugging Face writes for "no limit".
        json.WritePropertyName("model_max_length");
        json.WriteRawValue("1000000000000000019884624838656");
        json.WriteEndObject();
    }
}
