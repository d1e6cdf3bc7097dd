using System.Text.Json;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Evaluation.Tasks;
using Peft.Formats.HuggingFace;
using Peft.Formats.Tokenizers;
using Peft.Models;

namespace Peft.Evaluation.Tests;

/// <summary>A random llama of some thousand values over number texts, and tasks over rows of JSON Lines.</summary>
public sealed class TinyEvaluation : IDisposable
{
    public const int Context = 64;

    private const string Config = """
        {"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_key_value_heads": 1,
         "num_attention_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "eos_token_id": 2,
         "initializer_range": 0.3}
        """;

    public TinyEvaluation()
    {
        File.WriteAllText(Folder["config.json"], Config);
        Model = NewModel();
    }

    public TempFolder Folder { get; } = new();

    public HuggingFaceTokenizer Tokenizer { get; } = Peft.Tests.NumberTokenizer.Of(32, bos: 1);

    public CausalLanguageModel Model { get; }

    public CausalLanguageModel NewModel(long seed = 11) =>
        ModelLoader.Create(ModelConfigFile.Read(Folder.Path), ScalarType.Float32, seed);

    /// <summary>A task over rows, each a JSON object.</summary>
    public TaskData Data(EvaluationTask task, IEnumerable<string> rows, params string[] fields)
    {
        var file = Folder[$"{task.Name}.jsonl"];
        File.WriteAllLines(file, rows);
        var source = new DataSetOptions
        {
            Name = task.Name, Files = [file], Prompt = task.Kind == TaskKind.Perplexity
                ? null : TextTemplate.Parse("{p}"), Answer = TextTemplate.Parse("{a}"),
            AllowsEmptyAnswer = true, Fields =
            [
                .. fields.Select((field, i) => TextTemplate.Parse(field, $"choices[{i}]")),
            ],
        };
        return TaskData.Open([task with { Sources = [source] }], null, 0, (_, name) => name).Single();
    }

    public EvaluationTask Choice(string name, params string[] metrics) => new()
    {
        Name = name, Kind = TaskKind.MultipleChoice, Sources = [], Metrics = metrics.Length == 0
            ? ["acc", "acc_norm"] : metrics,
        Labels = ["A", "B", "C"], Choices =
        [
            TextTemplate.Parse("{x}"), TextTemplate.Parse("{y}"), TextTemplate.Parse("{z}"),
        ],
    };

    /// <summary>Questions with three choices of some tokens; every fifth lacks the last one.</summary>
    public TaskData Choices(string name, int rows, int seed = 3)
    {
        var random = new Random(seed);
        return Data(Choice(name), Enumerable.Range(0, rows).Select(i =>
            JsonSerializer.Serialize(new
            {
                p = Numbers(random, 2 + i * 7 % 17),
                a = "AB".Substring(i % 2, 1),
                x = " " + Numbers(random, 1 + i % 4),
                y = " " + Numbers(random, 1),
                z = i % 5 == 0 ? "" : " " + Numbers(random, 3),
            })),
            "{x}", "{y}", "{z}");
    }

    public TaskData Generated(string name, int rows, params string[] stop)
    {
        var random = new Random(4);
        return Data(
            new EvaluationTask
            {
                Name = name, Kind = TaskKind.Generation, Sources = [], Metrics =
                [
                    "token_error_rate", "exact_match",
                ], MaxNewTokens = 6, Stop = stop,
            },
            Enumerable.Range(0, rows)
                .Select(i => $$"""{"p": "{{Numbers(random, 1 + i * 5 % 9)}}", "a": "{{Numbers(random, 3)}}"}"""));
    }

    public static string Numbers(Random random, int count) =>
        string.Join(' ', Enumerable.Range(0, count).Select(_ => random.Next(3, 32)));

    /// <summary>Log-softmax of every position of one sequence, by the plain forward.</summary>
    public double[][] LogProbabilities(IReadOnlyList<int> ids, CausalLanguageModel? model = null)
    {
        using var scope = torch.NewDisposeScope();
        var logits = (model ?? Model).Forward(
            torch.tensor([.. ids.Select(id => (long)id)], [1, ids.Count]), ForwardPass.ForInference()).log_softmax(-1);
        var values = logits.contiguous().data<float>().ToArray();
        return [.. values.Chunk(values.Length / ids.Count).Select(row => row.Select(v => (double)v).ToArray())];
    }

    public void Dispose()
    {
        Model.Dispose();
        Folder.Dispose();
    }
}
