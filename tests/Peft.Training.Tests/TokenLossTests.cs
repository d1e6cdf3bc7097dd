using Peft.Adapters.Lora;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Models;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

public sealed class TokenLossTests : IDisposable
{
    private static readonly RowId Row = new("f", 1);
    private static readonly string[] Tasks = ["a", "b"];

    private static readonly TokenBatch Batch = TokenBatch.Of(
        [
            new TokenSequence([1, 5, 6, 7, 30], 2, 0, Row, 0),
            new TokenSequence([1, 8, 12], 1, 1, Row, 0),
            new TokenSequence([1, 9, 4, 31], 3, 1, Row, 0),
        ], padId: 2);

    private readonly TinyTraining _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Theory]
    [InlineData(ScalarType.Float32, 1e-5)]
    [InlineData(ScalarType.Float64, 1e-5)]
    [InlineData(ScalarType.BFloat16, 3e-2)]
    public void It_is_the_negative_log_softmax_of_the_learned_tokens(ScalarType dtype, double tolerance)
    {
        var model = _tiny.NewModel(dtype);
        Assert.True(model.HasPlainHead);
        Near(Plain(model), Losses(model), tolerance);
    }

    [Fact]
    public void A_wrapped_head_gives_the_loss_of_its_own_logits()
    {
        var model = _tiny.NewModel();
        var adapted = AdapterAttachment.Attach(model,
            TinyTraining.Lora with { TargetModules = ModuleNames.List(["lm_head"]) }, 1);
        using (torch.no_grad())
            adapted.Modules[0].Up.copy_(torch.randn([32, 2], generator: new Generator(6)));
        Assert.False(model.HasPlainHead);
        var plain = Plain(model);

        Near(plain, Losses(model), 1e-5);
        Assert.NotEqual(plain[0], Plain(_tiny.NewModel())[0], 3);
    }

    [Fact]
    public void Its_gradient_is_softmax_less_one_hot()
    {
        using var scope = torch.NewDisposeScope();
        var model = _tiny.NewModel();
        using var tensors = BatchTensors.From(Batch, torch.CPU);
        var hidden = torch.randn([3, 5, 16], generator: new Generator(4)).requires_grad_();
        TokenLoss.PerToken(model, hidden, tensors, ForwardPass.ForTraining()).sum().backward();

        var rows = hidden.detach().reshape([-1, 16]).index_select(0, tensors.LearnedIndex);
        var logits = model.Head(rows);
        var slope = logits.softmax(-1) - torch.nn.functional.one_hot(tensors.LearnedTargets,
            32).to(ScalarType.Float32); // [M, V]
        var expected = torch.zeros([15, 16]).index_add(0, tensors.LearnedIndex, slope.mm(model.HeadWeight.detach()), 1);

        Assert.True((hidden.grad!.reshape([-1, 16]) - expected).abs().max().ToDouble() < 1e-5);
    }

    [Fact]
    public void No_learned_token_is_no_loss()
    {
        using var scope = torch.NewDisposeScope();
        var model = _tiny.NewModel();
        using var tensors = BatchTensors.From(TokenBatch.Of([new([1, 2, 3], 3, 0, Row, 0)], 0), torch.CPU);
        var pass = ForwardPass.ForTraining();
        var losses = TokenLoss.PerToken(model, model.Hidden(tensors.Ids, pass), tensors, pass);

        Assert.Equal([0], losses.shape);
        Assert.Equal(0, losses.sum().ToDouble());
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    public void An_evaluation_is_the_mean_over_learned_tokens_in_all_and_by_task(ScalarType dtype)
    {
        var model = _tiny.NewModel(dtype);
        var losses = Plain(model);

        var metrics = EvaluationLoss.Of(model, [Batch], Tasks, torch.CPU);

        Assert.Equal(["eval_loss", "eval_a_loss", "eval_b_loss"], metrics.Keys);
        Assert.Equal(losses.Average(), metrics["eval_loss"], 1e-5);
        Assert.Equal(losses[..3].Average(), metrics["eval_a_loss"], 1e-5);
        Assert.Equal(losses[3..].Average(), metrics["eval_b_loss"], 1e-5);
    }

    [Fact]
    public void An_evaluation_does_not_depend_on_the_batch_size()
    {
        var model = _tiny.NewModel();
        AdapterAttachment.Attach(model, TinyTraining.Mixture, 1);
        var rows = _tiny.Open().Train;

        var one = EvaluationLoss.Of(model, rows.Sequential(1), ["rows"], torch.CPU);
        var all = EvaluationLoss.Of(model, rows.Sequential(64), ["rows"], torch.CPU);

        Assert.Equal(["eval_loss"], one.Keys);
        Assert.Equal(one["eval_loss"], all["eval_loss"], 1e-5);
    }

    [Fact]
    public void An_evaluation_leaves_no_gradient_and_no_tensor_behind()
    {
        var run = _tiny.Build(TinyTraining.Options, TinyTraining.Mixture);
        var rows = _tiny.Open().Train;
        var before = LiveTensors.Settled();
        EvaluationLoss.Of(run.Trainable.Model, rows.Sequential(4), ["rows"], torch.CPU);

        LiveTensors.AssertNoMoreThan(before);
        Assert.All(run.Trainable.Parameters, p => Assert.Null(p.Parameter.grad));
    }

    private static double[] Losses(CausalLanguageModel model)
    {
        using var scope = torch.NewDisposeScope();
        using var tensors = BatchTensors.From(Batch, torch.CPU);
        var pass = ForwardPass.ForInference();
        var losses = TokenLoss.PerToken(model, model.Hidden(tensors.Ids, pass), tensors, pass);
        return losses.detach().to(ScalarType.Float64).data<double>().ToArray();
    }

    // log softmax of the logits at each learned position, in double precision and without Torch.
    private static double[] Plain(CausalLanguageModel model)
    {
        using var scope = torch.NewDisposeScope();
        using var tensors = BatchTensors.From(Batch, torch.CPU);
        var logits = model.Forward(tensors.Ids,
            ForwardPass.ForInference()).to(ScalarType.Float64).data<double>().ToArray();
        var losses = new List<double>();
        for (var at = 0; at < Batch.Targets.Length; at++)
        {
            if (Batch.Targets[at] == TokenBatch.Ignored)
                continue;
            var row = logits.AsSpan(at * 32, 32).ToArray();
            losses.Add(Math.Log(row.Sum(Math.Exp)) - row[Batch.Targets[at]]);
        }
        return [.. losses];
    }

    private static void Near(double[] expected, double[] found, double tolerance)
    {
        Assert.Equal(6, expected.Length);
        Assert.Equal(expected.Length, found.Length);
        Assert.All(expected.Zip(found), pair => Assert.Equal(pair.First, pair.Second, tolerance));
    }
}
