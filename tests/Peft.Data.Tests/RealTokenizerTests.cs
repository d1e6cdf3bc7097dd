using Peft.Data.Tokens;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Tests;

public class RealTokenizerTests
{
    [SharedTheory]
    [InlineData("llama2", 1)]
    [InlineData("llama3", 128000)]
    [InlineData("gpt2", null)]
    [InlineData("qwen3", null)]
    public void The_prefix_is_what_the_tokenizers_template_puts_first(string name, int? prefix)
    {
        var encoder = TextEncoder.Of(HuggingFaceTokenizer.Load(SharedAssets.Path("tokenizers", name)));
        Assert.Equal(prefix is { } id ? [id] : [], encoder.Prefix);
    }

    [SharedFact]
    public void Real_rows_with_a_real_tokenizer_decode_to_prompt_and_answer()
    {
        var tokenizer = HuggingFaceTokenizer.Load(SharedAssets.Path("tokenizers", "gpt2"));
        var encoder = TextEncoder.Of(tokenizer, [50256], 50257);
        var options = Given.Train(
            """
            {"files": "ag_news_small/validation.parquet", "limit": 50, "filter": "label < 3",
             "template": {"prompt": "{title}\nTopic:", "answer": " {label_text}"}}
            """,
            "\"max_length\": 64");
        using var data = TrainingData.Open(options, encoder, SharedAssets.Path("data"));
        Assert.Equal(50, data.Train.Count);
        foreach (var index in Enumerable.Range(0, 50))
        {
            var sequence = data.Train[index];
            var answer = sequence.Ids[sequence.Learned[0].Start..];
            Assert.Equal(50256, answer[^1]);
            Assert.Matches("^ [A-Z][a-z/ A-Z]+$", tokenizer.Decode(answer.SkipLast(1)));
            Assert.EndsWith("\nTopic:", tokenizer.Decode(sequence.Ids.SkipLast(answer.Length)));
        }

        var preview = DataPreview.Read(options, encoder, tokenizer, SharedAssets.Path("data"), 3);
        Assert.Equal(3, preview.Sequences.Count);
        Assert.Equal(data.Train[0].Ids, preview.Sequences[0].Tokens.Select(token => token.Id));
    }
}
