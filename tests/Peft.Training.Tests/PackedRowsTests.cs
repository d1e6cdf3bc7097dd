using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Models;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

/// <summary>Sequences that share rows learn as if each were alone.</summary>
public sealed class PackedRowsTests
{
    private const string Mistral = "\"sliding_window\": 3";
    private const string Qwen3 = "\"head_dim\": 8";

    private static readonly AdapterOptions TopK = new()
    {
        Method = AdapterOptions.Mixture, R = 2, LoraAlpha = 4, Experts = new ExpertOptions { Count = 3 },
        Router = new TopKRouterOptions { TopK = 2, Balance = new() { Kind = "switch", Coefficient = 0.1 } },
    };

    private static readonly AdapterOptions ByTask =
        TopK with { Router = new HardSoftRouterOptions { Stage = HardSoftRouterOptions.Hard } };

    // Sequences of 7, 4, 3, 6 and 2 tokens of three tasks, in three rows, two of them padded.
    private static readonly TokenSequence[] Sequences =
        [.. new[] { (7, 0), (4, 2), (3, 1), (6, 1), (2, 0) }.Select((s, at) => Sequence(at, s.Item1, s.Item2))];
    private static readonly TokenBatch Packed = TokenBatch.OfRows([Sequences[..2], Sequences[2..4], Sequences[4..]], 2);

    public static TheoryData<string, string, string> Models => new()
    {
        { "llama", "", "lora" }, { "mistral", Mistral, "lora" }, { "qwen3", Qwen3, "lora" },
        { "llama", "", "top-k" }, { "mistral", Mistral, "hard" }, { "qwen3", Qwen3, "hard" },
        { "mistral", Mistral, "full" },
    };

    [Theory]
    [MemberData(nameof(Models))]
    public void Each_sequence_has_the_loss_and_the_gradients_that_it_has_alone(string modelType, string extra,
        string kind)
    {
        // The router's float32 scores are all that is not computed in float64.
        var tolerance = kind is "lora" or "full" ? 1e-6 : 1e-5;
        using var tiny = new TinyDecoder(modelType, extra, Adapter(kind));
        for (var sequence = 0; sequence < Sequences.Length; sequence++)
        {
            var alone = Losses(tiny, TokenBatch.Of([Sequences[sequence]], 2), 0);
            var expected = tiny.TakeGradients();

            var packed = Losses(tiny, Packed, sequence);

            Assert.Equal(alone.Length, packed.Length);
            Assert.All(alone.Zip(packed), pair => Assert.Equal(pair.First, pair.Second, tolerance));
            Assert.InRange(TinyDecoder.Distance(expected, tiny.TakeGradients()), 0, tolerance);
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void A_packed_batch_has_the_loss_and_the_gradients_of_the_padded_one(string modelType, string extra,
        string kind)
    {
        using var tiny = new TinyDecoder(modelType, extra, Adapter(kind), ScalarType.Float32);
        var expected = Loss(tiny, TokenBatch.Of(Sequences, 2));
        var gradients = tiny.TakeGradients();

        var found = Loss(tiny, Packed);

        Assert.Equal(expected.Token, found.Token, 1e-5);
        Assert.Equal(expected.Auxiliary, found.Auxiliary, 1e-5);
        Assert.Equal(kind == "top-k", expected.Auxiliary > 0);
        Assert.InRange(TinyDecoder.Distance(gradients, tiny.TakeGradients()), 0, 1e-5);
    }

    [Fact]
    public void Without_segments_neighbours_would_be_seen()
    {
        using var scope = torch.NewDisposeScope();
        using var tiny = new TinyDecoder("llama", "", TinyTraining.Lora);
        using var tensors = BatchTensors.From(Packed, torch.CPU);
        var pass = ForwardPass.ForInference();
        var blind = TokenLoss.PerToken(tiny.Model, tiny.Model.Hidden(tensors.Ids, pass), tensors, pass);
        var right = TokenLoss.PerToken(tiny.Model, tiny.Model.Hidden(tensors.Ids, tensors.InferencePass()), tensors,
            pass);
        Assert.True((blind - right).abs().max().ToDouble() > 1e-3);
    }

    [Fact]
    public void Tensors_of_a_packed_batch_know_each_tokens_sequence_task_and_place()
    {
        using var scope = torch.NewDisposeScope();
        using var tensors = BatchTensors.From(Packed, torch.CPU);

        Assert.Equal([3, 11], tensors.Ids.shape);
        Assert.Equal(
            [0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            tensors.TaskIds.data<long>().ToArray());
        Assert.Equal([0, 7, 7, 11, 11, 14, 14, 20, 22, 24], tensors.Segments!.Borders.ToArray());
        Assert.Equal(
            [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 4, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            tensors.Segments.Positions(torch.CPU).data<long>().ToArray());
        Assert.Equal(
            [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 0, 0, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            tensors.Segments.SequenceIds(torch.CPU).data<long>().ToArray());
        Assert.Equal(22, tensors.TokenMask!.data<bool>().ToArray().Count(real => real));
        Assert.False(tensors.TokenMask.data<bool>().ToArray()[20]);
        Assert.Null(BatchTensors.From(TokenBatch.Of(Sequences, 2), torch.CPU).Segments);
    }

    [Fact]
    public void An_evaluation_of_packed_rows_is_that_of_padded_ones()
    {
        using var tiny = new TinyDecoder("llama", "", TopK);
        string[] tasks = ["a", "b", "c"];
        var padded = EvaluationLoss.Of(tiny.Model, [TokenBatch.Of(Sequences, 2)], tasks, torch.CPU);
        var packed = EvaluationLoss.Of(tiny.Model, [Packed], tasks, torch.CPU);
        Assert.Equal(4, padded.Count);
        Assert.All(padded, metric => Assert.Equal(metric.Value, packed[metric.Key], 1e-5));
    }

    [Fact]
    public void A_packed_pass_refuses_other_ids_and_a_cache()
    {
        using var scope = torch.NewDisposeScope();
        using var tiny = new TinyDecoder("llama", "", null);
        using var tensors = BatchTensors.From(Packed, torch.CPU);
        var error =
            Assert.Throws<ArgumentException>(() => tiny.Model.Hidden(tensors.Ids.narrow(1, 0, 5),
            tensors.TrainingPass()));
        Assert.StartsWith("segments are of [3, 11] tokens, ids are [3, 5]", error.Message, StringComparison.Ordinal);
        using var cache = new KeyValueCache(3);
        error = Assert.Throws<ArgumentException>(
            () => tiny.Model.Hidden(tensors.Ids, ForwardPass.ForInference(cache, segments: tensors.Segments)));
        Assert.StartsWith("a packed pass carries a key-value cache", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_loop_trains_on_packed_rows_and_counts_real_tokens()
    {
        using var tiny = new TinyTraining(40);
        var data = tiny.Data with { Packing = true };
        var options = TinyTraining.Options with { MaxSteps = 0, NumTrainEpochs = 4, PerDeviceTrainBatchSize = 2 };
        var sink = new RecordingSink();
        var run = tiny.Build(options, TinyTraining.Mixture, dataOptions: data) with { Sinks = [sink] };
        var before = LiveTensors.Settled();

        new TrainingLoop(run).Run(new StopRequest());

        var opened = tiny.Open(data);
        var epoch = opened.FirstEpoch(2, options.Seed);
        Assert.True(epoch.SequencesPerRow > 1.5);
        Assert.Equal(4 * epoch.Batches, run.TotalSteps);
        Assert.Equal(opened.Train.Statistics.Tokens, sink.Steps.Take((int)epoch.Batches).Sum(step => step.Tokens));
        Assert.True(sink.Steps[^1].Loss < sink.Steps[0].Loss);
        LiveTensors.AssertNoMoreThan(before);
    }

    private static AdapterOptions? Adapter(string kind) => kind switch
    {
        "lora" => TinyTraining.Lora,
        "top-k" => TopK,
        "hard" => ByTask,
        _ => null,
    };

    private static TokenSequence Sequence(int seed, int length, int task)
    {
        var random = new Random(seed);
        return new TokenSequence(
            [.. Enumerable.Range(0, length).Select(_ => random.Next(3, 32))],
            length < 5 ? 1 : 3, task, new RowId("f", seed + 1), 0);
    }

    // Losses of one sequence's tokens; their sum goes backward.
    private static double[] Losses(TinyDecoder tiny, TokenBatch batch, int sequence)
    {
        using var scope = torch.NewDisposeScope();
        using var tensors = BatchTensors.From(batch, torch.CPU);
        var pass = tensors.TrainingPass();
        var all = TokenLoss.PerToken(tiny.Model, tiny.Model.Hidden(tensors.Ids, pass), tensors, pass);
        var own = tensors.LearnedIndex.data<long>().ToArray().Select((position, at) => (position, at))
            .Where(pair => batch.SequenceAt(pair.position) == sequence).Select(pair => (long)pair.at).ToArray();
        var losses = all.index_select(0, torch.tensor(own, [own.Length]));
        losses.sum().backward();
        return losses.detach().to(ScalarType.Float64).data<double>().ToArray();
    }

    private static (double Token, double Auxiliary) Loss(TinyDecoder tiny, TokenBatch batch)
    {
        using var scope = torch.NewDisposeScope();
        using var tensors = BatchTensors.From(batch, torch.CPU);
        var pass = tensors.TrainingPass();
        var token = TokenLoss.PerToken(tiny.Model, tiny.Model.Hidden(tensors.Ids, pass), tensors,
            pass).sum() / batch.LearnedTokens;
        var auxiliary = tiny.Adapted?.AuxiliaryLoss(pass, tensors.TokenMask);
        (auxiliary is null ? token : token + auxiliary).backward();
        return (token.ToDouble(), auxiliary?.ToDouble() ?? 0);
    }
}
