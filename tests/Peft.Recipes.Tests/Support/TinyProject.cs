using Peft.Formats.HuggingFace;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Training;
using Peft.Training.Metrics;

namespace Peft.Recipes.Tests.Support;

/// <summary>A folder with a random base model of a few thousand values, its tokenizer, data and recipes.</summary>
public sealed class TinyProject : IDisposable
{
    private const string Config = """
        {"model_type": "llama", "vocab_size": 264, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
         "tie_word_embeddings": true, "bos_token_id": null, "eos_token_id": 0, "torch_dtype": "float32", "initializer_range": 0.2}
        """;

    /// <summary>A mixture with all that could disturb an exact continuation.</summary>
    public const string Mixture = """
        model:
          model_name_or_path: base
          dtype: float32
        adapter:
          method: mixture
          r: 2
          lora_dropout: 0.1
          target_modules: [q_proj, v_proj]
          experts: {count: 4}
          router:
            kind: top-k
            top_k: 2
            balance: {kind: switch}
        data:
          max_length: 32
          train:
            - {name: copy, files: rows.jsonl, template: {prompt: "{p} =", answer: " {a}"}}
          eval:
            - {name: copy, files: rows.jsonl, limit: 4, template: {prompt: "{p} =", answer: " {a}"}}
        training:
          per_device_train_batch_size: 3
          max_steps: 8
          learning_rate: 0.02
          save_steps: 3
          eval_steps: 4
        evaluation:
          tasks:
            - {task: copy, metric: char_error_rate, rows: 3, max_new_tokens: 5}

        """;

    public const string Full = """
        method: full
        model:
          from_config: base
          save_dtype: float32
        data:
          max_length: 32
          packing: true
          train:
            - {name: text, files: rows.jsonl, template: {text: "{p} {a}"}}
        training:
          per_device_train_batch_size: 2
          max_steps: 8
          learning_rate: 0.01
          weight_decay: 0.1

        """;

    public TinyProject()
    {
        Directory.CreateDirectory(Folder["base"]);
        File.WriteAllText(Folder["base/config.json"], Config);
        BpeTrainer.Train(["a"], new BpeTrainerOptions { VocabSize = 257, EosToken = "<|endoftext|>" }, Folder["base"]);
        var config = ModelConfigFile.Read(Folder["base"]);
        using (var model = ModelLoader.Create(config, ScalarType.Float32, 3))
            ModelSaver.Save(Folder["base"], model, config.Map, ScalarType.Float32);
        var words = new[] { "ab", "ba", "cab", "a", "bb", "abc", "ca" };
        Folder.Write("rows.jsonl", string.Concat(words.Select(word => $"{{\"p\": \"{word}\", \"a\": \"{word}\"}}\n")));
    }

    public TempFolder Folder { get; } = new();

    public Recipe Load(string text, params string[] overrides) => Recipe.Load(Folder.Write("r.yaml", text), overrides);

    public PreparedRun Build(Recipe recipe, string output = "out", string? resume = null, params IMetricSink[] sinks)
    {
        var directory = OutputDirectory.Decide(Folder[output], resume, overwrite: false);
        return RunBuilder.Build(recipe, directory, torch.CPU, sinks);
    }

    /// <summary>What <c>peft train</c> does; stops after a step when asked to.</summary>
    public (TrainingOutcome Outcome, List<string> Losses) Train(Recipe recipe, string output, string? resume = null,
        int? stopAfter = null)
    {
        var stop = new StopRequest();
        var sink = new Losses(step => { if (step == stopAfter) stop.Request(); });
        var directory = OutputDirectory.Decide(Folder[output], resume, overwrite: false);
        using var run = RunBuilder.Build(recipe, directory, torch.CPU, [sink]);
        using var taken = directory.Prepare();
        return (run.Train(stop), sink.Lines);
    }

    public void Dispose() => Folder.Dispose();

    private sealed class Losses(Action<int> after) : IMetricSink
    {
        public List<string> Lines { get; } = [];

        public void Start(int afterStep, int totalSteps)
        {
        }

        public void Write(StepReport report)
        {
            Lines.Add($"{report.Step} {report.Loss:R} {report.Aux:R} {report.GradNorm:R}");
            after(report.Step);
        }

        public void Write(EvaluationReport report) => Lines.Add($"{report.Step} {report.Metrics["eval_loss"]:R}");

        public void Flush()
        {
        }

        public void Dispose()
        {
        }
    }
}
