using Peft.Data;
using Peft.Data.Examples;
using Peft.Evaluation.Metrics;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Evaluation.Tests;

/// <summary>A random llama answers number texts; the answers are computed again row by row.</summary>
public sealed class AnswerEvaluatorTests : IDisposable
{
    private const string Config = """
        {"model_type": "llama", "vocab_size": 16, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "eos_token_id": 2, "initializer_range": 0.3}
        """;

    private static readonly (string Task, string Prompt, string Answer)[] Rows =
        [.. Enumerable.Range(0, 12).Select(i => (i % 3 == 0 ? "a" : "b", string.Join(' ', Enumerable.Range(3, 1 + i * 5 % 7)), $"{3 + i} {15 - i}"))];

    private readonly TempFolder _folder = new();
    private readonly NumberTokenizer _tokenizer = new(16, bos: 1);
    private readonly CausalLanguageModel _model;
    private readonly TrainingData _data;

    public AnswerEvaluatorTests()
    {
        File.WriteAllText(_folder["config.json"], Config);
        _model = ModelLoader.Create(ModelConfigFile.Read(_folder.Path), ScalarType.Float32, 11);
        File.WriteAllLines(_folder["rows.jsonl"], Rows.Select(r => $$"""{"t": "{{r.Task}}", "p": "{{r.Prompt}}", "a": "{{r.Answer}}"}"""));
        var set = new DataSetOptions
        {
            Name = "rows", Files = [_folder["rows.jsonl"]], Prompt = TextTemplate.Parse("{p}"), Answer = TextTemplate.Parse("{a}"),
            TaskColumn = "t",
        };
        _data = TrainingData.Open(new DataOptions { Train = [set], Eval = [set], MaxLength = 32 }, _tokenizer, _folder.Path, endId: 2);
    }

    public void Dispose()
    {
        _model.Dispose();
        _data.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(64)]
    public void Each_tasks_rows_are_answered_and_scored(int batchSize)
    {
        var options = new EvaluationOptions
        {
            Tasks = [new TaskOptions("b", "token_error_rate", 100, 6), new TaskOptions("a", "char_error_rate", 100, 3)],
        };

        var results = AnswerEvaluator.Run(_model, _tokenizer, _data.Eval, _data.TaskNames, options, batchSize);

        Assert.Equal(
            [("b", "token_error_rate", false, 8), ("a", "char_error_rate", false, 4)],
            results.Select(r => (r.Task, r.Metric, r.HigherIsBetter, r.Rows)));
        Assert.Equal(Expected("b", "token_error_rate", 100, 6), results[0].Value, 1e-12);
        Assert.Equal(Expected("a", "char_error_rate", 100, 3), results[1].Value, 1e-12);
    }

    [Fact]
    public void At_most_the_rows_asked_for_are_taken_from_the_start()
    {
        var options = new EvaluationOptions { Tasks = [new TaskOptions("b", "token_error_rate", 3, 6)] };
        var result = AnswerEvaluator.Run(_model, _tokenizer, _data.Eval, _data.TaskNames, options, 2).Single();

        Assert.Equal(3, result.Rows);
        Assert.Equal(Expected("b", "token_error_rate", 3, 6), result.Value, 1e-12);
    }

    [Fact]
    public void No_tensor_is_left_behind()
    {
        var options = new EvaluationOptions { Tasks = [new TaskOptions("a", "accuracy", 4, 3)] };
        var before = LiveTensors.Settled();
        AnswerEvaluator.Run(_model, _tokenizer, _data.Eval, _data.TaskNames, options, 2);
        Assert.Equal(before, torch.LiveTensorCount);
    }

    // Greedy decoding with the whole text computed again for each token, one row at a time.
    private double Expected(string task, string metric, int rows, int newTokens)
    {
        using var scope = torch.NewDisposeScope();
        var (predictions, answers) = (new List<string>(), new List<string>());
        foreach (var row in Rows.Where(r => r.Task == task).Take(rows))
        {
            var ids = _tokenizer.EncodeToIds(row.Prompt, addSpecialTokens: true).Select(id => (long)id).ToList();
            var start = ids.Count;
            while (ids.Count < start + newTokens)
            {
                var logits = _model.Forward(torch.tensor(ids.ToArray(), [1, ids.Count]), ForwardPass.ForInference());
                var next = logits.select(1, ids.Count - 1).argmax(-1).ToInt64();
                if (next == 2)
                    break;
                ids.Add(next);
            }
            predictions.Add(string.Join(' ', ids.Skip(start)));
            answers.Add(row.Answer); // without the end of text
        }
        return AnswerMetric.Of(metric).Score(predictions, answers);
    }
}
