using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>
/// A recipe with its base and rows beside it, trained into another folder: the bundle finds them from anywhere.
/// </summary>
public sealed class BundlePathsTests : IDisposable
{
    private readonly TempFolder _project = new();
    private readonly TempFolder _trained = new();
    private readonly TempFolder _elsewhere = new();

    public BundlePathsTests()
    {
        _project.Copy(TinyBase.Model, "sub/base");
        _project.Write("sub/rows.jsonl", File.ReadAllText(TinyBase.RowsFile));
        _project.Write("sub/r.yaml", TinyBase.Recipe(
            "{r: 2}", "{per_device_train_batch_size: 4, max_steps: 2, save_steps: 1, save_total_limit: 1}",
            "evaluation: {tasks: [{task: held, rows: 2, max_new_tokens: 2}]}")
            .Replace(TinyBase.Model, "base", StringComparison.Ordinal)
            .Replace(TinyBase.RowsFile, "rows.jsonl", StringComparison.Ordinal)
            .Replace("data:\n", """
                data:
                  eval:
                    - {name: held, files: rows.jsonl, template: {prompt: "{question}", answer: "{answer}"}, limit: 4}

                """, StringComparison.Ordinal));
        foreach (var name in new[] { "one", "two" })
            PeftProcess.Run(_trained, "train", _project["sub/r.yaml"], "--output", name).Succeeds();
    }

    public void Dispose()
    {
        _project.Dispose();
        _trained.Dispose();
        _elsewhere.Dispose();
    }

    [Fact]
    public void Its_data_and_base_are_found_from_any_folder_by_every_verb_that_reads_them()
    {
        var (one, two) = (_trained["one"], _trained["two"]);
        foreach (var adapter in new[] { one, _trained["one/checkpoint-1"] })
            PeftProcess.Run(_elsewhere, "eval", "--adapter", adapter, "--output", "eval", "--overwrite").Succeeds();
        PeftProcess.Run(_elsewhere, "gate", "--adapter", one, "--set", "training.max_steps=1").Succeeds();
        PeftProcess.Run(_elsewhere, "gate", "--adapter", two, "--set", "training.max_steps=1").Succeeds();
        PeftProcess.Run(_elsewhere, "merge", "--method", "phatgoose", one, $"again={two}", "--output",
            "merged").Succeeds();
        PeftProcess.Run(
            _elsewhere, "merge", "--method", "cat", one, $"again={two}", "--recipe",
            Path.Combine(one, "recipe.resolved.yaml"),
            "--output", "cat").Succeeds();
        PeftProcess.Run(_elsewhere, "generate", "--adapter", one, "--prompt", "the cat", "--max-new-tokens",
            "2").Succeeds();
        PeftProcess.Run(_elsewhere, "train", Path.Combine(one, "recipe.resolved.yaml"), "--output", "again").Succeeds();
    }

    [Fact]
    public void A_bundle_that_was_copied_finds_them_too()
    {
        foreach (var file in Directory.GetFiles(_trained["one"]))
            _elsewhere.Write($"copy/{Path.GetFileName(file)}", "");
        foreach (var file in Directory.GetFiles(_trained["one"]))
            File.Copy(file, _elsewhere[$"copy/{Path.GetFileName(file)}"], overwrite: true);
        PeftProcess.Run(_elsewhere, "eval", "--adapter", "copy", "--output", "eval").Succeeds();
    }

    [Fact]
    public void A_run_goes_on_from_another_folder()
    {
        PeftProcess.Run(
            _elsewhere, "train", _project["sub/r.yaml"], "--output", _trained["one"], "--resume",
            _trained["one/checkpoint-1"]).Succeeds();
    }
}
