using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Distributed;
using Peft.Models;
using Peft.Recipes;
using Peft.Training;
using Peft.Training.Ranks;

namespace Peft.Benchmarks;

/// <summary>A model with adapters on every linear layer and all that one step of training needs; the step is the
/// training loop's.</summary>
internal sealed class TrainingStep : IDisposable
{
    public const int Rank = 8;
    public const int Experts = 8;

    private readonly CausalLanguageModel _model;
    private readonly AdaptedModel _adapted;
    private readonly Optimizer _optimizer;
    private readonly TokenBatch _whole;
    private readonly RankPart _part;
    private readonly ICommunicator _ranks;
    private readonly StepExchange _exchange;
    private readonly bool _gradientCheckpointing;
    private int _steps;

    /// <summary>Makes the model, its adapters and a batch of random tokens, several sequences a row where rows are
    /// packed; of several ranks each has its rows.</summary>
    public TrainingStep(
        BenchmarkOptions options, ModelShape shape, AdapterOptions adapter, bool gradientCheckpointing = false,
        int sequencesARow = 1, ICommunicator? ranks = null)
    {
        _ranks = ranks ?? Alone.Instance;
        _exchange = new StepExchange(_ranks, _ranks);
        _gradientCheckpointing = gradientCheckpointing;
        _model = shape.Create(options.Dtype);
        _adapted = AdapterAttachment.Attach(_model, adapter, seed: 1);
        _optimizer = new TrainingOptions().NewOptimizer(_adapted.Parameters);
        _whole = RandomBatch(shape, sequencesARow);
        _part = RankPlan.Of([_whole], _ranks.Size, _ranks.Rank)[0]!;
    }

    /// <summary>Bytes of the base and of the adapters.</summary>
    public long WeightBytes =>
        _model.BaseParameters.Sum(p => p.Parameter.ByteCount()) + _adapted.Parameters.Sum(p => p.Parameter.ByteCount());

    /// <summary>What <c>--dry-run</c> says of the activations of a step.</summary>
    public long EstimatedActivations =>
        MemoryEstimate.ActivationBytes(
            _model, _adapted.Modules, _whole.BatchSize, _whole.Length, _gradientCheckpointing);

    /// <summary>Plain LoRA.</summary>
    public static TrainingStep Lora(BenchmarkOptions options, bool gradientCheckpointing = false) =>
        new(options, options.Shape, LoraOf(Rank), gradientCheckpointing);

    /// <summary>A mixture with two of the experts for each token.</summary>
    public static TrainingStep Mixture(BenchmarkOptions options) =>
        new(options, options.Shape, MixtureOf(Experts, Rank));

    /// <summary>Plain LoRA of a rank.</summary>
    public static AdapterOptions LoraOf(int rank) => new() { R = rank, LoraAlpha = 2 * rank };

    /// <summary>Experts behind a top-2 router; one expert is plain LoRA.</summary>
    public static AdapterOptions MixtureOf(int experts, int rank) => experts == 1 ? LoraOf(rank) : LoraOf(rank) with
    {
        Method = AdapterOptions.Mixture,
        Experts = new ExpertOptions { Count = experts },
        Router = new TopKRouterOptions { TopK = 2 },
    };

    /// <summary>One step: forward, loss of every next token, the router's own losses, backward, clipping,
    /// AdamW.</summary>
    public void Run()
    {
        _optimizer.zero_grad();
        using (var scope = torch.NewDisposeScope())
        {
            using var random = Seeds.GeneratorFor(1, $"step.{_steps++}", torch.CPU);
            using var tensors = BatchTensors.From(_part.Batch, torch.CPU);
            var pass = tensors.TrainingPass(random, _gradientCheckpointing, _part.Rows is null ? null
                : new BatchShare(_whole.BatchSize, _part.Rows, _ranks.Size, _exchange.SumInPlace));
            var hidden = _model.Hidden(tensors.Ids, pass);                                  // [B, T, D]
            var loss = TokenLoss.PerToken(_model, hidden, tensors, pass).sum() / _whole.LearnedTokens;
            if (_adapted.AuxiliaryLoss(pass, tensors.TokenMask) is { } auxiliary)
                loss = loss + auxiliary;
            pass.Backward(loss);
            if (!double.IsFinite(loss.ToDouble()))
                throw new InvalidOperationException("the loss of a benchmark step is not finite");
        }
        _exchange.Sum(_adapted.Parameters, []);
        Gradients.clip_grad_norm_(_adapted.Parameters.Select(p => p.Parameter), 1);
        _optimizer.step();
    }

    public void Dispose()
    {
        _exchange.Dispose();
        _optimizer.Dispose();
        _model.Dispose();
    }

    private static TokenBatch RandomBatch(ModelShape shape, int sequencesARow)
    {
        var random = new Random(1);
        return TokenBatch.OfRows([.. Enumerable.Range(0, shape.Batch).Select(row =>
            Enumerable.Range(0, sequencesARow).Select(_ => new TokenSequence(
                [.. Enumerable.Range(0, shape.Length / sequencesARow).Select(_ => random.Next(shape.Vocabulary))],
                1, 0, new RowId("random", row + 1), 0)).ToArray())], padId: 0);
    }
}
