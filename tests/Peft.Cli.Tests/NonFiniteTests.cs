using Peft.Cli.Tests.Crash;
using Peft.Cli.Tests.Support;
using Peft.Formats.Safetensors;
using Peft.Formats.Tokenizers;

namespace Peft.Cli.Tests;

public sealed class NonFiniteTests : IDisposable
{
    private const int BrokenRow = 7;
    private const int Width = 32;

    private readonly TempFolder _folder = new();

    [Fact]
    public void A_row_whose_loss_is_no_number_ends_the_run_by_name_and_a_continued_run_may_leave_it_out()
    {
        BreakRow();
        _folder.Write("r.yaml",
            TinyBase.Recipe("{r: 2}", "{per_device_train_batch_size: 1, save_steps: 1, report_to: none}"));
        string[] words = ["train", "r.yaml", "--set", "model.model_name_or_path=base", "--output", "out"];

        var stopped = PeftProcess.Run(_folder,
            words).Exits(1).Says($"the loss is not a finite number. Rows: {TinyBase.RowsFile}, row {BrokenRow}.");
        var good = Directory.GetDirectories(_folder["out"],
            "checkpoint-*").Select(path => int.Parse(path.Split('-')[^1])).DefaultIfEmpty().Max();
        stopped.Says($"step {good + 1}: ",
            good == 0 ? "No checkpoint" : $"The last good state is out/checkpoint-{good}.", "on_non_finite: skip");
        Assert.False(TrainedFolder.AssertIntact(_folder["out"]));

        PeftProcess.Run(_folder, [.. words, "--resume", "auto", "--set", "training.on_non_finite=skip"]).Succeeds()
            .Says($"step {good + 1}: the loss is not a finite number", "The step was skipped (1 so far).",
            "skipped steps: 1 (");
        Assert.True(TrainedFolder.AssertIntact(_folder["out"]));
        var lines = File.ReadAllLines(_folder["out/metrics.jsonl"]);
        Assert.Equal(TinyBase.Rows, lines.Length);
        Assert.Contains("\"loss\":null",
            Assert.Single(lines, line => line.Contains("\"skipped\":1", StringComparison.Ordinal)));
    }

    public void Dispose() => _folder.Dispose();

    // A base whose head is its own, so that a broken embedding stays with the rows that have the token.
    private void BreakRow()
    {
        _folder.Copy(TinyBase.New, "new");
        var config = File.ReadAllText(_folder["new/config.json"]);
        _folder.Write("new/config.json",
            config.Replace("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false",
            StringComparison.Ordinal));
        _folder.Write("full.yaml", $$"""
            method: full
            model: {from_config: new, save_dtype: float32}
            data:
              max_length: 32
              train:
                - {files: {{TinyBase.RowsFile}}, template: {text: "{question}{answer}"} }
            training: {per_device_train_batch_size: 4, max_steps: 1, report_to: none}
            """);
        PeftProcess.Run(_folder, "train", "full.yaml", "--output", "base").Succeeds();

        var tokenizer = HuggingFaceTokenizer.Load(_folder["base"]);
        var token = Ids(BrokenRow).Except(
            Enumerable.Range(1, TinyBase.Rows).Where(row => row != BrokenRow).SelectMany(Ids)).First();
        var weights = SafetensorsFile.Open(_folder["base/model.safetensors"]).Entries["model.embed_tokens.weight"];
        using var file = File.OpenWrite(_folder["base/model.safetensors"]);
        file.Position = weights.Offset + token * Width * sizeof(float);
        file.Write(Enumerable.Repeat((byte)0xFF, Width * sizeof(float)).ToArray());

        IEnumerable<int> Ids(int row) => tokenizer.EncodeToIds($"the cat {row} sat on");
    }
}
