using System.Text.Json;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class BpeTrainerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("peft-trainer-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_most_frequent_pair_comes_first_and_ties_go_to_the_lower_ids()
    {
        Train(["ab ab ab cd cd cd"], new BpeTrainerOptions { VocabSize = 400, SpecialTokens = ["<e>"] });
        // "ab" once without a space before it; "Ġ" stands behind the letters in the alphabet.
        Assert.Equal(["a b", "c d", "Ġ cd", "Ġ ab"], Merges());
    }

    [Fact]
    public void Repeats_are_merged_from_the_left_and_rare_pairs_are_not()
    {
        Train(["aaaa", "aaaa", "xy"], new BpeTrainerOptions { VocabSize = 400 });
        Assert.Equal(["a a", "aa aa"], Merges());
    }

    [Fact]
    public void The_vocabulary_stops_at_its_size()
    {
        Train(
            ["the quick brown fox the quick brown fox"],
            new BpeTrainerOptions { VocabSize = 260, SpecialTokens = ["<a>", "<b>"] });
        var tokenizer = HuggingFaceTokenizer.Load(_folder);
        Assert.Equal(260, tokenizer.VocabularySize);
        Assert.Equal((0, 1), (tokenizer.TokenToId("<a>"), tokenizer.TokenToId("<b>")));
        Assert.Equal("!", tokenizer.IdToToken(2));
    }

    [Theory]
    [InlineData(BpePattern.Gpt2)]
    [InlineData(BpePattern.Llama3)]
    public void What_was_trained_loads_and_round_trips(BpePattern pattern)
    {
        string[] texts = ["It's 2024, and we'll see: naïve café 😀\n\nnew line", "It's 2024 again", "see the café"];
        Train(texts, new BpeTrainerOptions
        {
            VocabSize = 320, SpecialTokens = ["<s>", "</s>"], Pattern = pattern,
            BosToken = "<s>", EosToken = "</s>", AddsBos = true,
        });
        var tokenizer = HuggingFaceTokenizer.Load(_folder);
        Assert.Equal((0, 1, null), (tokenizer.BosId, tokenizer.EosId, tokenizer.PadId));
        foreach (var text in texts)
        {
            var ids = tokenizer.EncodeToIds(text);
            Assert.Equal(0, ids[0]);
            Assert.True(ids.Count < text.Length);
            Assert.Equal(text, tokenizer.Decode(ids, skipSpecialTokens: true));
        }

        Assert.Equal([0, 1], tokenizer.EncodeToIds("</s>"));
    }

    [Fact]
    public void The_same_texts_give_the_same_bytes_in_any_order()
    {
        string[] texts = [.. Enumerable.Range(0, 200).Select(i => $"word{i % 7} number {i * i % 11} and so on")];
        var options = new BpeTrainerOptions { VocabSize = 350 };
        Train(texts, options);
        var first = File.ReadAllText(Path.Combine(_folder, "tokenizer.json"));
        Train(texts.Reverse(), options);
        Assert.Equal(first, File.ReadAllText(Path.Combine(_folder, "tokenizer.json")));
    }

    [Fact]
    public void Options_that_contradict_each_other_are_told_together()
    {
        var options = new BpeTrainerOptions
        {
            VocabSize = 100, SpecialTokens = ["<a>", "<a>"], BosToken = "<b>", EosToken = "<c>",
        };
        var error = Assert.Throws<FaultsException>(() => Train(["a"], options));
        Assert.Equal(
            """
            the tokenizer to train has 4 faults:
              VocabSize      100; expected a whole number from 258 (special tokens and 256 bytes) to 2097151.
              SpecialTokens  a token listed twice; expected every token once.
              BosToken       '<b>'; expected one of SpecialTokens.
              EosToken       '<c>'; expected one of SpecialTokens.
            """,
            error.Message);
    }

    private void Train(IEnumerable<string> texts, BpeTrainerOptions options) =>
        BpeTrainer.Train(texts, options, _folder);

    private IEnumerable<string?> Merges() =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder, "tokenizer.json"))).RootElement
            .GetProperty("model").GetProperty("merges").EnumerateArray().Select(merge => merge.GetString());
}
