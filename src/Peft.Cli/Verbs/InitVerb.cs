using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Recipes;
using Peft.Recipes.Reading;

namespace Peft.Cli.Verbs;

/// <summary>A recipe and rows to begin with.</summary>
[Verb("init", HelpText = "Write a commented recipe and ten example rows, ready to train.")]
public sealed class InitVerb : IVerb
{
    private const string RecipeName = "recipe.yaml";
    private const string RowsName = "rows.jsonl";

    private const string Rows = """
        {"question": "What is the capital of France?", "answer": "Paris"}
        {"question": "What is the capital of Italy?", "answer": "Rome"}
        {"question": "What is the capital of Spain?", "answer": "Madrid"}
        {"question": "What is the capital of Portugal?", "answer": "Lisbon"}
        {"question": "What is the capital of Austria?", "answer": "Vienna"}
        {"question": "What is the capital of Greece?", "answer": "Athens"}
        {"question": "What is the capital of Norway?", "answer": "Oslo"}
        {"question": "What is the capital of Poland?", "answer": "Warsaw"}
        {"question": "What is the capital of Ireland?", "answer": "Dublin"}
        {"question": "What is the capital of Finland?", "answer": "Helsinki"}

        """;

    /// <summary>Where.</summary>
    [Value(0, MetaName = "FOLDER", Default = ".", HelpText = "Folder to write to.")]
    public string Folder { get; set; } = ".";

    /// <inheritdoc/>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var (recipe, rows) = (Path.Combine(Folder, RecipeName), Path.Combine(Folder, RowsName));
        if (new[] { recipe, rows }.FirstOrDefault(Path.Exists) is { } existing)
            throw UserException.At(existing, "already exists", null, "name another folder: peft init FOLDER");
        if (File.Exists(Folder))
            throw UserException.At(Folder, "is a file", "a folder");
        try
        {
            Directory.CreateDirectory(Folder);
        }
        catch (Exception e) when (FileOperationException.Covers(e))
        {
            throw FileOperationException.Writing(Folder, e);
        }
        AtomicFile.WriteText(rows, Rows);
        AtomicFile.WriteText(recipe, Text(recipe));
        output.Say($"{recipe} and {rows}: a recipe and ten example rows");
        output.Say($"next: {HelpPage.Command} train {CommandLineWords.Quoted(recipe)}");
        return ExitCode.Done;
    }

    private static string Text(string recipe)
    {
        // As the recipe will find it; otherwise that of the checkout the program was built in.
        var here = new RecipePaths(recipe).Resolve(ModelOptions.EmbeddedBase);
        var model = Directory.Exists(here) ? ModelOptions.EmbeddedBase
            : ModelOptions.BuiltBase ?? ModelOptions.EmbeddedBase;
        return $$"""
            # A LoRA adapter that learns the ten rows of {{RowsName}}. Train it with:
            #   {{HelpPage.Command}} train {{CommandLineWords.Quoted(recipe)}}
            # Every key and its default: docs/keys.md, or --dry-run after that command.

            model:
              # Directory of a base model in Hugging Face layout.
              model_name_or_path: {{Quoted(model)}}

            adapter:
              # lora is one adapter; mixture has several experts and a router that chooses among them.
              method: lora
              # Rank of the two matrices, and the factor on their product: lora_alpha / r.
              r: 8
              lora_alpha: 16
              # all-linear, or names of projections: [q_proj, v_proj].
              target_modules: all-linear

            data:
              # Tokens of a row at most; a longer prompt is cut from the left.
              max_length: 64
              train:
                # One JSON object a line; CSV, TSV, JSON and Parquet are read too.
                - name: capitals
                  files: {{RowsName}}
                  template:
                    # {column} stands for the value in that column. Only the answer is learned.
                    prompt: "Question: {question} Answer:"
                    answer: " {answer}"

            training:
              # Rows in a step, and passes over all rows.
              per_device_train_batch_size: 5
              num_train_epochs: 30
              # Peak of the learning rate; it falls to 0 by the last step.
              learning_rate: 3.0e-3
              lr_scheduler_type: linear
              # Steps between the lines that are printed, and between checkpoints (0: none).
              logging_steps: 5
              save_steps: 0

            # Where the adapter is written, unless --output says otherwise; ./ is this file's folder.
            output_dir: ./adapter

            """;
    }

    private static string Quoted(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";
}
