using Peft.Formats;
using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class TextGenerationTests
{
    private static readonly int[][] Prompts = [[3, 17, 0, 39, 8], [5], [21, 30, 11], [5]];

    [Theory]
    [InlineData("llama", "")]
    [InlineData("mistral", "\"sliding_window\": 3")]
    [InlineData("qwen3", "\"head_dim\": 8, \"tie_word_embeddings\": true")]
    public void Batch_of_ragged_prompts_equals_one_by_one(string modelType, string extra)
    {
        using var checkpoint = new TinyCheckpoint(modelType, extra);
        using var model = ModelLoader.Load(checkpoint.Path);
        foreach (var options in new[]
                 {
                     new GenerationOptions { MaxNewTokens = 12 },
                     new GenerationOptions { MaxNewTokens = 12, Temperature = 1, TopP = 0.9, Seed = 0 },
                     new GenerationOptions { MaxNewTokens = 12, Temperature = 0.8, TopK = 5, Seed = 7,
                     EosTokenIds = [] },
                 })
        {
            var batch = TextGeneration.GenerateBatch(model, Prompts[..3], options);
            for (var row = 0; row < 3; row++)
                Assert.Equal(TextGeneration.Generate(model, Prompts[row], options), batch[row]);
        }
    }

    [Fact]
    public void Rows_that_end_early_leave_the_batch_and_the_others_go_on_unchanged()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        int[] ends = [2, 9, 4, 1];
        var whole = new GenerationOptions { MaxNewTokens = 12, EosTokenIds = [] };
        var alone = Prompts.Select(prompt => TextGeneration.Generate(model, prompt, whole).ToList()).ToList();
        var asked = 0;
        // Each continuation is known by its own beginning: the second and the fourth prompt are the same.
        var options =
            whole with
            {
                IsFinished = ids =>
                { asked++; return alone.FindIndex(own => own[0] == ids[0]) is var row && ids.Count >= ends[row]; }
            };

        var batch = TextGeneration.GenerateBatch(model, Prompts, options);

        for (var row = 0; row < Prompts.Length; row++)
            Assert.Equal(alone[row].Take(ends[alone.FindIndex(own => own[0] == alone[row][0])]), batch[row]);
        Assert.Equal(batch.Sum(own => own.Count), asked);
    }

    [Fact]
    public void Equal_prompts_of_one_batch_sample_differently_and_a_seed_repeats()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        var options = new GenerationOptions { MaxNewTokens = 16, Temperature = 1, EosTokenIds = [] };
        var rows = TextGeneration.GenerateBatch(model, Prompts, options);
        Assert.NotEqual(rows[1], rows[3]);
        Assert.Equal(rows, TextGeneration.GenerateBatch(model, Prompts, options));
        Assert.NotEqual(rows[0], TextGeneration.Generate(model, Prompts[0], options with { Seed = 1 }));
    }

    [Fact]
    public void Any_end_token_ends_the_text_and_is_its_last_token()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        var free = TextGeneration.Generate(
            model, Prompts[0], new GenerationOptions { MaxNewTokens = 10, EosTokenIds = [] }).ToArray();
        Assert.Equal(10, free.Length);
        var end = free[4];
        var stopped = TextGeneration.Generate(
            model, Prompts[0], new GenerationOptions { MaxNewTokens = 10, EosTokenIds = [99, end] });
        Assert.Equal(free[..(Array.IndexOf(free, end) + 1)], stopped);
    }

    [Fact]
    public void Tokens_are_streamed_as_they_are_chosen()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        var before = LiveTensors.Settled();
        var first = TextGeneration.Generate(
            model, Prompts[0], new GenerationOptions { MaxNewTokens = 50, EosTokenIds = [] }).Take(2).ToArray();
        Assert.Equal(2, first.Length);
        LiveTensors.AssertNoMoreThan(before); // leaving early frees the cache
    }

    [Fact]
    public void Text_ends_where_the_model_has_no_more_positions()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        var options = new GenerationOptions { MaxNewTokens = 500, EosTokenIds = [] };
        Assert.Equal(64 - 5, TextGeneration.Generate(model, Prompts[0], options).Count());
    }

    [Fact]
    public void Every_wrong_option_and_prompt_is_told_at_once()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        var options = new GenerationOptions { MaxNewTokens = 0, Temperature = -1, TopP = 0, TopK = -2 };
        var error = Assert.Throws<FaultsException>(
            () => TextGeneration.GenerateBatch(model, [[], new int[64]], options));
        foreach (var part in new[] { "max_new_tokens", "temperature", "top_p", "top_k", "no tokens", "64 tokens",
            "the model's 64 positions" })
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ids_the_model_lacks_are_refused()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        var error = Assert.Throws<UserException>(
            () => TextGeneration.Generate(model, [1, 40], new GenerationOptions()));
        Assert.Equal(
            "token ids: 40 at position 1; expected ids from 0 to 39, which this llama model has. "
            + "Use the tokenizer that belongs to the base model.", error.Message);
    }
}
