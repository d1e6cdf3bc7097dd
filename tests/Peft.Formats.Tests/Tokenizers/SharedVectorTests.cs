using System.Text;
using System.Text.Json;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

/// <summary>Every line of the vectors that Hugging Face tokenizers wrote for real tokenizers.</summary>
public sealed class SharedVectorTests
{
    private static readonly Dictionary<string, HuggingFaceTokenizer> Loaded = [];

    public static TheoryData<string> Names =>
    [
        "tokenizers/gpt2", "tokenizers/llama2", "tokenizers/llama3", "tokenizers/mistral-v0.1", "tokenizers/qwen3",
        "tokenizers/bert-base-uncased", "tokenizers/t5", "models/stories260K",
    ];

    [SharedTheory]
    [MemberData(nameof(Names))]
    public void Every_line_encodes_to_the_same_ids(string name)
    {
        var tokenizer = Load(name);
        foreach (var vector in Vectors(name).GetProperty("vectors").EnumerateArray())
        {
            var text = vector.GetProperty("text").GetString()!;
            Assert.Equal((text, Join(vector, "ids")), (text, Join(tokenizer.EncodeToIds(text))));
            Assert.Equal((text, Join(vector, "ids_no_special")), (
                text, Join(tokenizer.EncodeToIds(text, addSpecialTokens: false))));
            Assert.Equal(vector.GetProperty("ids").GetArrayLength(), tokenizer.CountTokens(text));
        }
    }

    [SharedTheory]
    [MemberData(nameof(Names))]
    public void Every_line_decodes_to_the_same_text_whole_and_streamed(string name)
    {
        var tokenizer = Load(name);
        foreach (var vector in Vectors(name).GetProperty("vectors").EnumerateArray())
        {
            var ids = vector.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()).ToArray();
            Assert.Equal(vector.GetProperty("decoded").GetString(), tokenizer.Decode(ids, skipSpecialTokens: true));
            Assert.Equal(vector.GetProperty("decoded_with_special").GetString(), tokenizer.Decode(ids));
            Assert.Equal(vector.GetProperty("decoded").GetString(), Stream(tokenizer, ids));
        }
    }

    [SharedTheory]
    [MemberData(nameof(Names))]
    public void The_pair_and_the_vocabulary_size_are_the_same(string name)
    {
        var tokenizer = Load(name);
        var vectors = Vectors(name);
        var pair = vectors.GetProperty("pair");
        var ids = tokenizer.EncodeToIds(pair.GetProperty("a").GetString()!, pair.GetProperty("b").GetString(), true);
        Assert.Equal(Join(pair, "ids"), Join(ids));
        Assert.Equal(vectors.GetProperty("vocab_size").GetInt32(), tokenizer.VocabularySize);
    }

    [SharedTheory]
    [MemberData(nameof(Names))]
    public void Every_token_lies_where_the_original_says(string name)
    {
        var tokenizer = Load(name);
        foreach (var vector in Vectors(name).GetProperty("vectors").EnumerateArray())
        {
            var text = vector.GetProperty("text").GetString()!;
            var tokens = tokenizer.EncodeToTokens(text, addSpecialTokens: true);
            Assert.Equal((text, Join(vector, "ids")), (text, Join(tokens.Select(token => token.Id))));
            Assert.Equal(tokens.Select(token => tokenizer.IdToToken(token.Id)), tokens.Select(token => token.Value));
            var places = PlacesInText(text);
            var composes = (name == "tokenizers/qwen3" && UnicodeNormalizer.OfForm("NFC").Normalize(text) != text)
                // T5's table replaces clusters and runs of spaces, of which the original keeps the last character only.
                || name == "tokenizers/t5";
            foreach (var (token, place) in tokens.Zip(vector.GetProperty("offsets").EnumerateArray()))
            {
                var (start, end) = (places[place[0].GetInt32()], places[place[1].GetInt32()]);
                if (start == end)
                    Assert.Equal(token.Offset.Start, token.Offset.End);
                else if (!composes)
                    Assert.Equal((text, token.Value, start..end), (text, token.Value, token.Offset));
                else
                {
                    // There a composed character is all that it was composed of; in the original only the first of it.
                    Assert.InRange(token.Offset.Start.Value, 0, start);
                    Assert.InRange(token.Offset.End.Value, end, text.Length);
                }
            }
        }
    }

    [SharedTheory]
    [InlineData("models/gpt-nano-sort", "WordLevel")]
    public void Another_model_is_refused_by_its_name(string name, string kind)
    {
        var error = Assert.Throws<UserException>(() => HuggingFaceTokenizer.Load(SharedAssets.Path(name.Split('/'))));
        Assert.Contains(
            $"model.type: '{kind}' is not supported; expected BPE", error.Message, StringComparison.Ordinal);
    }

    [SharedFact]
    public void Begin_and_end_come_from_the_configuration()
    {
        var tokenizer = Load("models/stories260K");
        Assert.Equal((1, 2, null), (tokenizer.BosId, tokenizer.EosId, tokenizer.PadId));
        Assert.Equal(64, tokenizer.Sha256.Length);
        var llama3 = Load("tokenizers/llama3");
        Assert.Equal(128000, llama3.BosId);
        Assert.True(llama3.IsSpecial(128000));
        Assert.False(Load("tokenizers/qwen3").IsSpecial(151667));
    }

    // Where the code points of a text stand, and its end.
    private static List<int> PlacesInText(string text)
    {
        var places = new List<int> { 0 };
        foreach (var rune in text.EnumerateRunes())
            places.Add(places[^1] + rune.Utf16SequenceLength);
        return places;
    }

    private static string Stream(HuggingFaceTokenizer tokenizer, int[] ids)
    {
        var stream = tokenizer.NewDecoder(skipSpecialTokens: true);
        var text = new StringBuilder();
        foreach (var id in ids)
        {
            var piece = stream.Append(id);
            Assert.True(piece.Length == 0 || !char.IsHighSurrogate(piece[^1]) && !char.IsLowSurrogate(piece[0]));
            text.Append(piece);
        }

        return text.Append(stream.Flush()).ToString();
    }

    private static HuggingFaceTokenizer Load(string name)
    {
        lock (Loaded)
        {
            if (Loaded.TryGetValue(name, out var known))
                return known;
            var tokenizer = HuggingFaceTokenizer.Load(SharedAssets.Path(name.Split('/')));
            // Ours would merge the words of so little text.
            tokenizer.StartLibrary();
            return Loaded[name] = tokenizer;
        }
    }

    private static JsonElement Vectors(string name) =>
        JsonDocument.Parse(File.ReadAllBytes(SharedAssets.Path([.. name.Split('/'), "vectors.json"]))).RootElement;

    private static string Join(JsonElement vector, string key) =>
        Join(vector.GetProperty(key).EnumerateArray().Select(id => id.GetInt32()));

    private static string Join(IEnumerable<int> ids) => string.Join(',', ids);
}
