using Peft.Data.Batches;
using Peft.Formats;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests;

/// <summary>Recipes with <c>streaming: true</c>.</summary>
public sealed class StreamingRunTests : IDisposable
{
    private readonly TinyProject _project = new();
    private readonly string _recipe = TinyProject.Mixture.Replace(
        "  max_length: 32\n", "  max_length: 32\n  streaming: true\n  shuffle_buffer_size: 3\n  bucket_window: 2\n",
        StringComparison.Ordinal);

    public void Dispose() => _project.Dispose();

    [Fact]
    public void A_run_that_was_stopped_and_resumed_ends_in_the_same_bytes()
    {
        var straight = _project.Train(_project.Load(_recipe), "straight");
        var first = _project.Train(_project.Load(_recipe), "resumed", stopAfter: 5);
        var second = _project.Train(_project.Load(_recipe), "resumed", resume: "auto");

        Assert.Equal(straight.Losses, first.Losses.Concat(second.Losses));
        Assert.Equal(Weights("straight"), Weights("resumed"));
        byte[] Weights(string output) => File.ReadAllBytes(_project.Folder[$"{output}/adapter_model.safetensors"]);
    }

    [Fact]
    public void Steps_must_be_given_where_the_number_of_rows_is_unknown()
    {
        var error =
            Assert.Throws<FaultsException>(() => _project.Build(_project.Load(_recipe, "training.max_steps=0")));
        Assert.Equal(
            $"{_project.Folder["r.yaml"]} has 1 fault:\n"
            + $"  training.max_steps  0, and streaming leaves the number of sequences unknown (data.train[0]: "
            + $"{_project.Folder["rows.jsonl"]} is not a Parquet file)"
            + "; expected at least 1, or data of a known size (Parquet without filter).",
            error.Message);
    }

    [Fact]
    public void The_memory_estimate_takes_rows_to_be_as_long_as_allowed()
    {
        using var streamed = _project.Build(_project.Load(_recipe));
        using var read = _project.Build(_project.Load(TinyProject.Mixture), "other");
        Assert.True(MemoryEstimate.Of(streamed).Activations > MemoryEstimate.Of(read).Activations);
        using var shorter = _project.Build(_project.Load(_recipe, "data.max_length=16"), "third");
        Assert.True(MemoryEstimate.Of(streamed).Activations > MemoryEstimate.Of(shorter).Activations);
    }

    [Fact]
    public void Other_data_does_not_continue_a_checkpoint()
    {
        _project.Train(_project.Load(_recipe), "out", stopAfter: 2);
        File.AppendAllText(_project.Folder["rows.jsonl"], "{\"p\": \"c\", \"a\": \"c\"}\n");
        Assert.Throws<UserException>(() => _project.Train(_project.Load(_recipe), "out", resume: "auto"));
    }
}
