using System.IO.MemoryMappedFiles;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests;

/// <summary>What a run is said to hold in memory before it starts.</summary>
public sealed class MemoryEstimateTests : IDisposable
{
    private readonly TinyProject _project = new();

    public void Dispose() => _project.Dispose();

    [Fact]
    public void The_memory_estimate_counts_what_is_there_and_grows_with_the_batch()
    {
        var estimates = new[] { 1, 2, 4 }.Select(batch =>
        {
            using var run = _project.Build(
                _project.Load(TinyProject.Mixture, $"training.per_device_train_batch_size={batch}"));
            // Values, gradients and AdamW's two: four times.
            var estimate = MemoryEstimate.Of(run);
            Assert.Equal(run.TrainableParameters * 4 * sizeof(float), estimate.Trained);
            Assert.Equal(run.Trainable.Model.BaseParameters.Sum(p => p.Parameter.numel()) * sizeof(float),
                estimate.Base);
            return estimate;
        }).ToList();

        Assert.True(estimates[0].Activations > 0);
        Assert.Equal(2 * estimates[0].Activations, estimates[1].Activations);
        Assert.Equal(4 * estimates[0].Activations, estimates[2].Activations);
        Assert.Matches(
            "^memory: about [0-9]+ MB at the peak: program [0-9]+ MB, base 0 MB, trainable parameters with gradients "
            + "and optimizer 0 MB, "
            + "a training step [0-9]+ MB or an evaluation batch [0-9]+ MB, whichever is larger$",
            estimates[0].ToString());
        Assert.All(estimates,
            estimate => Assert.True(estimate.Least <= estimate.Total && estimate.Total > estimate.Program));
    }

    [Fact]
    public void A_pool_counts_once_with_the_parameters()
    {
        using var run = _project.Build(Pooled(shared: 0));
        // A pool of two layers, each with four experts of rank 2.
        var pools = run.Trainable.Modules.Sum(
            module => sizeof(float) * 4 * 2 * (module.InFeatures + module.OutFeatures));

        Assert.All(run.Trainable.Modules, module => Assert.Equal(8, module.Candidates));
        Assert.Equal((run.TrainableParameters * 4 * sizeof(float)) + pools, MemoryEstimate.Of(run).Trained);
    }

    [Fact]
    public void A_pool_counts_in_each_layer_where_layers_have_experts_of_their_own_beside_it()
    {
        using var pooled = _project.Build(Pooled(shared: 1));
        // As many candidates, all of them the layer's own.
        using var own = _project.Build(_project.Load(
            TinyProject.Mixture, "adapter.router={kind: top-k}", "adapter.experts={count: 8, shared: 1}"), "own");
        var copies = pooled.Trainable.Modules.Sum(
            module => sizeof(float) * (8 + 1) * 2 * (module.InFeatures + module.OutFeatures));

        Assert.Equal(pooled.TrainableParameters * 4 * sizeof(float), MemoryEstimate.Of(pooled).Trained);
        Assert.Equal(copies, MemoryEstimate.Of(pooled).Activations - MemoryEstimate.Of(own).Activations);
    }

    /// <summary>Bytes that the adapted projections of two layers keep of a token. Each has four experts of rank 2,
    /// which makes 32, and a byte for each input by lora_dropout: of q_proj and v_proj 48.</summary>
    [Theory]
    [InlineData("adapter.router={kind: top-k}", "[q_proj, v_proj]", 4, 4 * 48)]
    [InlineData("adapter.lora_dropout=0", "[q_proj, v_proj]", 4, 4 * 32)]
    [InlineData("adapter.use_dora=true", "[q_proj, v_proj]", 4, (4 * (8 + 16)) + (2 * 4 * (16 + 8)))]
    [InlineData("adapter.router={kind: rmoe, hidden_size: 6}", "[q_proj, v_proj]", 4, 4 * (48 + (8 * 6 * 4)))]
    [InlineData("adapter.router={kind: sparsegen, hidden_size: 10}", "[q_proj, v_proj]", 2, 4 * (48 + (10 * 2)))]
    [InlineData("adapter.router={kind: graph-of-tokens}", "[q_proj, v_proj]", 4, 4 * (48 + (16 * 4)))]
    [InlineData("adapter.router={kind: graph-of-tokens}", "[q_proj, v_proj]", 2, 4 * (48 + (2 * 16 * 4)))]
    [InlineData(
        "adapter.router={kind: graph-of-tokens, similarity: fixed}", "[q_proj, v_proj]", 2, 4 * (48 + (16 * 4)))]
    [InlineData("adapter.router={kind: chain-of-experts}", "[q_proj]", 4, 2 * (32 + 16 + 32 + (2 * 16 * 4)))]
    [InlineData(
        "adapter.router={kind: mixlora-switch}", "[gate_proj, up_proj, down_proj]", 4,
        2 * ((3 * 32) + 16 + 16 + 24 + (4 * 16 * 4)))]
    [InlineData(
        "adapter.router={kind: mixlora-dynamic, top_p: 0.5}", "[gate_proj, up_proj, down_proj]", 4,
        2 * ((3 * 32) + 16 + 16 + 24 + (2 * 2 * 24 * 4)))]
    [InlineData(
        "adapter.router={kind: ffn-split}", "[gate_proj, up_proj, down_proj]", 4,
        2 * ((3 * 8) + 16 + 16 + 24 + (24 * 4)))]
    public void What_a_projection_keeps_of_a_token_is_counted(
        string setting, string targets, int width, long expected)
    {
        var isOne = setting.Contains("ffn-split", StringComparison.Ordinal);
        string[] settings = setting.Contains("use_dora", StringComparison.Ordinal)
            ? ["adapter.method=lora", "adapter.experts=null", "adapter.router=null"]
            : isOne ? ["adapter.experts={count: 1}"] : [];
        using var run = _project.Build(_project.Load(
            TinyProject.Mixture, [.. settings, setting, $"adapter.target_modules={targets}"]));
        Assert.Equal(expected, run.Trainable.Modules.Sum(module => MemoryEstimate.KeptBytes(module, width)));
    }

    [Theory]
    [InlineData(8, 0.8, 7)]
    [InlineData(4, 0.75, 4)]
    [InlineData(4, 0.7, 3)]
    [InlineData(3, 0.999, 3)]
    public void Experts_up_to_a_probability_are_never_more_than_even_ones(int experts, double topP, int most)
    {
        Assert.Equal(most, new MixLoraDynamicRouterOptions { TopP = topP }.MostChosen(experts));
        var even = torch.full([1, experts], 1.0 / experts, torch.float32);
        Assert.Equal(
            most, Selection.NucleusMask(even, topP, 1, keepsCrossing: true).sum().ToInt64());
    }

    [Fact]
    public void What_was_read_of_a_mapped_file_is_told()
    {
        const int Size = 1 << 20;
        var path = _project.Folder[$"{Guid.NewGuid():N}.mapped"];
        File.WriteAllBytes(path, new byte[Size]);
        using var file = MemoryMappedFile.CreateFromFile(path, FileMode.Open);
        using var view = file.CreateViewAccessor(0, Size, MemoryMappedFileAccess.Read);
        var all = new byte[Size];
        Assert.Equal(Size, view.ReadArray(0, all, 0, Size));
        Assert.Equal(Size, MachineMemory.ReadOfMapped(Path.GetFileName(path)));
        Assert.Equal(0, MachineMemory.ReadOfMapped(Path.GetFileName(path) + ".other"));
    }

    [Fact]
    public void The_memory_estimate_counts_what_is_left_of_weights_beside_the_weights()
    {
        using var run = _project.Build(_project.Load(TinyProject.Mixture, "adapter.init_lora_weights=goat"));
        using var plain = _project.Build(_project.Load(TinyProject.Mixture), "plain");

        // Two layers, a q_proj and a v_proj each; with each weight A and B as they began.
        var copies = run.Trainable.Modules.Sum(module => sizeof(float) * (
            (module.InFeatures * module.OutFeatures) + (4 * 2 * (module.InFeatures + module.OutFeatures))));
        Assert.Equal(4, run.Trainable.Modules.Count);
        Assert.Equal(copies, MemoryEstimate.Of(run).Base - MemoryEstimate.Of(plain).Base);
    }

    [Fact]
    public void A_batch_that_no_memory_of_the_machine_can_hold_is_refused_before_it_starts()
    {
        using var run = _project.Build(_project.Load(
            TinyProject.Mixture, "training.per_device_train_batch_size=8", "training.per_device_eval_batch_size=1"));
        var estimate = MemoryEstimate.Of(run);
        estimate.RequireToFit(run, estimate.Least);
        var error = Assert.Throws<UserException>(() => estimate.RequireToFit(run, estimate.Least - 1));
        Assert.Matches(
            "^training.per_device_train_batch_size: 8 rows, which need at least [0-9.]+ GiB; expected at most the "
            + "[0-9.]+ GiB of this machine. "
            + "Reduce it or data.max_length, set training.gradient_checkpointing: true, or use a smaller base.$",
            error.Message);
        Assert.Null(estimate.Warning(estimate.Total));
        Assert.Matches("^this run may take [0-9.]+ GiB of memory and [0-9.]+ GiB are free: ",
            estimate.Warning(estimate.Total - 1));
    }

    [Fact]
    public void Processes_on_one_machine_count_together_a_mapped_base_once()
    {
        using var run = _project.Build(_project.Load(TinyProject.Mixture));
        var three = MemoryEstimate.Of(run, 3);
        Assert.Equal((3, three.Base), (three.Processes, three.Common));
        var (total, least) = ((3 * three.Total) - (2 * three.Base), (3 * three.Least) - (2 * three.Base));
        Assert.Null(three.Warning(total));
        Assert.Matches(
            "^this run may take [0-9.]+ GiB of memory in 3 processes and [0-9.]+ GiB are free: close other programs, "
            + "start fewer ranks on a machine, or reduce ", three.Warning(total - 1));
        three.RequireToFit(run, least);
        var error = Assert.Throws<UserException>(() => three.RequireToFit(run, least - 1));
        Assert.Contains(" in 3 processes on this machine; expected ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith("a smaller base or fewer ranks on a machine.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_evaluation_batch_that_cannot_fit_is_named()
    {
        using var run = _project.Build(_project.Load(
            TinyProject.Mixture, "training.per_device_train_batch_size=1",
            "training.per_device_eval_batch_size=65536"));
        var estimate = MemoryEstimate.Of(run);
        Assert.True(estimate.Evaluation > estimate.Activations);
        var error = Assert.Throws<UserException>(() => estimate.RequireToFit(run, estimate.Least - 1));
        Assert.StartsWith("training.per_device_eval_batch_size: 65,536 rows, which need at least ", error.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Gradient_checkpointing_keeps_the_inputs_of_blocks_and_one_of_them_whole()
    {
        using var kept = _project.Build(_project.Load(TinyProject.Full));
        using var again = _project.Build(_project.Load(TinyProject.Full, "training.gradient_checkpointing=true"),
            "again");
        // Two blocks of 64 tokens and width 16 in float32; the head is the same in both.
        const long Input = 64 * 16 * sizeof(float);
        var head = Input + 64L * sizeof(float) * kept.Trainable.Model.Config.VocabularySize;
        var expected = (2 * Input) + head + ((MemoryEstimate.Of(kept).Activations - head) / 2);
        Assert.Equal(expected, MemoryEstimate.Of(again).Activations);
    }

    [Fact]
    public void With_method_full_the_values_count_once()
    {
        using var adam = _project.Build(_project.Load(TinyProject.Full));
        var estimate = MemoryEstimate.Of(adam);
        Assert.Equal(3 * estimate.Base, estimate.Trained); // gradients and AdamW's two
        using var sgd = _project.Build(_project.Load(TinyProject.Full, "training.optim=sgd"), "sgd");
        Assert.Equal(estimate.Base, MemoryEstimate.Of(sgd).Trained);
    }

    /// <summary>MiB of an evaluation batch's tensors, and of the whole process at its peak: the default recipe with
    /// per_device_eval_batch_size 16, 64, 128 and 256, and the last in float32.</summary>
    [Theory]
    [InlineData(29.5, 465)]
    [InlineData(117.5, 773)]
    [InlineData(235, 1029)]
    [InlineData(470, 1670)]
    [InlineData(496, 1686)]
    public void An_evaluation_batch_is_estimated_within_a_fifth_of_what_was_measured(double batch, double peak)
    {
        var estimate = new MemoryEstimate(
            328L << 20, 6L << 20, 11L << 20, 30L << 20, (long)(batch * (1 << 20)), RunsAgain: false);
        Assert.InRange(estimate.Total / peak / (1 << 20), 0.8, 1.2);
    }

    private Recipe Pooled(int shared) => _project.Load(
        TinyProject.Mixture, "adapter.router={kind: rexmoe}", $"adapter.experts={{count: 4, shared: {shared}}}");
}
