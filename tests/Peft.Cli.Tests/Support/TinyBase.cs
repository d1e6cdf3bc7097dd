namespace Peft.Cli.Tests.Support;

/// <summary>
/// A base model of 40,000 random values, its tokenizer and some rows, made by the program itself (<c>tokenize
/// --train</c> and
/// <c>train</c> with <c>method: full</c>) when the first test asks, for all tests of the assembly.
/// </summary>
internal static class TinyBase
{
    public const int Rows = 12;

    private static readonly Lazy<TempFolder> Made = new(Make);

    /// <summary>The model's directory.</summary>
    public static string Model => Made.Value["base"];

    /// <summary>Its config.json and tokenizer alone.</summary>
    public static string New => Made.Value["new"];

    /// <summary>A JSON-lines file with question and answer.</summary>
    public static string RowsFile => Made.Value["rows.jsonl"];

    /// <summary>What the run that made the model left beside it.</summary>
    public static TempFolder Folder => Made.Value;

    /// <summary>A recipe on this model and these rows; further lines of its sections replace none of these.</summary>
    public static string Recipe(string adapter, string training, string more = "") => $$"""
        model:
          model_name_or_path: {{Model}}
        adapter: {{adapter}}
        data:
          max_length: 32
          train:
            - name: rows
              files: {{RowsFile}}
              template: {prompt: "{question}", answer: "{answer}"}
        training: {{training}}
        {{more}}
        """;

    /// <summary>The same with the first rows held out, as the task <c>held</c>.</summary>
    public static string RecipeWithHeldRows(string adapter, string training, string evaluation, int limit = 4) =>
        Recipe(adapter, training, evaluation).Replace("data:\n", $$"""
            data:
              eval:
                - name: held
                  files: {{RowsFile}}
                  template: {prompt: "{question}", answer: "{answer}"}
                  limit: {{limit}}

            """, StringComparison.Ordinal);

    private static TempFolder Make()
    {
        var folder = new TempFolder();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        var texts = Enumerable.Range(1,
            40).Select(i => $"the cat {i} sat on the mat and the dog {i} ran to the cat").ToArray();
        PeftProcess.Run(folder, Surroundings.WithInput(texts), "tokenize", "--train", "--vocab-size", "280",
            "--tokenizer", "new").Succeeds();
        folder.Write("new/config.json", """
            {
              "architectures": ["LlamaForCausalLM"],
              "model_type": "llama",
              "hidden_size": 32,
              "intermediate_size": 64,
              "num_hidden_layers": 2,
              "num_attention_heads": 4,
              "num_key_value_heads": 2,
              "vocab_size": 288,
              "max_position_embeddings": 64,
              "rms_norm_eps": 1e-5,
              "eos_token_id": 0,
              "tie_word_embeddings": true
            }
            """);
        folder.Write("rows.jsonl", string.Concat(Enumerable.Range(1, Rows).Select(i =>
            $$"""{"question": "the cat {{i}} sat on", "answer": " mat {{i}}"}""" + "\n")));
        folder.Write("full.yaml", """
            method: full
            model: {from_config: new, save_dtype: float32}
            data:
              max_length: 32
              train:
                - {files: rows.jsonl, template: {text: "{question}{answer}"}}
            training: {per_device_train_batch_size: 4, max_steps: 2, report_to: none}
            """);
        PeftProcess.Run(folder, "train", "full.yaml", "--output", "base").Succeeds();
        return folder;
    }
}
