using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Training;

/// <summary>
/// The <c>training:</c> section of a recipe; names and meanings follow Hugging Face's TrainingArguments.
/// </summary>
public sealed record TrainingOptions
{
    /// <summary>Rows in one forward pass: sequences, or rows that several share with <c>data.packing</c>.</summary>
    /// <value>Default 8; at least 1.</value>
    [Key(Min = 1, Max = 65536)]
    public int PerDeviceTrainBatchSize { get; init; } = 8;

    /// <summary>Sequences in one forward pass of an evaluation.</summary>
    /// <value>Default 16; at least 1.</value>
    [Key(Min = 1, Max = 65536)]
    public int PerDeviceEvalBatchSize { get; init; } = 16;

    /// <summary>Forward and backward passes that make one optimizer step. The loss is divided once, by the learned
    /// tokens of the whole step, so that accumulating equals one large batch.</summary>
    /// <value>Default 1; at least 1.</value>
    [Key(Min = 1, Max = 65536)]
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>Whether the blocks' activations are computed again in the backward pass instead of kept: a third more
    /// computation, memory of one block; the numbers are the same.</summary>
    [Key]
    public bool GradientCheckpointing { get; init; }

    /// <summary>Optimizer steps; 0 means that <see cref="NumTrainEpochs"/> decides.</summary>
    [Key(Min = 0)]
    public int MaxSteps { get; init; }

    /// <summary>Passes over the data when <see cref="MaxSteps"/> is 0.</summary>
    [Key(Min = 0, Max = 1e6)]
    public double NumTrainEpochs { get; init; } = 1;

    /// <summary>Peak learning rate.</summary>
    /// <value>Default 2e-4, usual for LoRA; full training of a small model wants about 1e-3.</value>
    [Key(Min = 0, Max = 100)]
    public double LearningRate { get; init; } = 2e-4;

    /// <summary>LoRA+: how many times <see cref="LearningRate"/> B and every one-dimensional parameter learn at; A and
    /// all else at <see cref="LearningRate"/>.</summary>
    /// <value>Default none: one rate. The paper's advice is about 16, with a lower <see cref="LearningRate"/>.</value>
    [Key(Min = 0, Max = 1e6, Silent = true)]
    public double? LoraplusLrRatio { get; init; }

    /// <summary>With LoRA+, the peak learning rate of a LoRA on the embeddings.</summary>
    /// <value>Default 1e-6, PEFT's.</value>
    [Key(Min = 0, Max = 100, Silent = true)]
    public double LoraplusLrEmbedding { get; init; } = 1e-6;

    /// <summary>Peak learning rate of the routers' own parameters; it follows the same schedule.</summary>
    /// <value>Default none: <see cref="LearningRate"/>.</value>
    [Key(Min = 0, Max = 100, Silent = true)]
    public double? RouterLearningRate { get; init; }

    /// <summary>
    /// Shape of the learning rate over the steps: constant, linear or cosine (all after the warm-up).
    /// </summary>
    [Key(Choices = [LearningRateSchedule.Constant, LearningRateSchedule.Linear, LearningRateSchedule.Cosine])]
    public string LrSchedulerType { get; init; } = LearningRateSchedule.Cosine;

    /// <summary>
    /// Share of all steps in which the learning rate rises from 0; used when <see cref="WarmupSteps"/> is 0.
    /// </summary>
    [Key(Min = 0, Max = 1)]
    public double WarmupRatio { get; init; }

    /// <summary>Steps in which the learning rate rises from 0.</summary>
    [Key(Min = 0)]
    public int WarmupSteps { get; init; }

    /// <summary>Learning rate at the end of linear and cosine, as a share of the peak.</summary>
    [Key(Min = 0, Max = 1)]
    public double MinLrRatio { get; init; }

    /// <summary>The optimizer: adamw or sgd.</summary>
    [Key(Choices = ["adamw", "sgd"])]
    public string Optim { get; init; } = "adamw";

    /// <summary>AdamW's decay of the gradient mean.</summary>
    [Key(Min = 0, Max = 0.999999)]
    public double AdamBeta1 { get; init; } = 0.9;

    /// <summary>AdamW's decay of the squared gradient's mean.</summary>
    [Key(Min = 0, Max = 0.9999999)]
    public double AdamBeta2 { get; init; } = 0.999;

    /// <summary>AdamW's epsilon.</summary>
    [Key(Min = 0, Max = 1)]
    public double AdamEpsilon { get; init; } = 1e-8;

    /// <summary>Decoupled weight decay; vectors (norms, biases) are never decayed.</summary>
    [Key(Min = 0, Max = 10)]
    public double WeightDecay { get; init; }

    /// <summary>Momentum of SGD.</summary>
    [Key(Min = 0, Max = 0.9999)]
    public double Momentum { get; init; }

    /// <summary>Gradients are scaled down to this norm over all parameters; 0 switches clipping off.</summary>
    [Key(Min = 0)]
    public double MaxGradNorm { get; init; } = 1;

    /// <summary>What a step does whose loss or gradient is not a finite number: stop ends the run, skip leaves the
    /// parameters
    /// as they are and takes the next rows (ten such steps in a row end the run all the same).</summary>
    [Key(Choices = ["stop", "skip"])]
    public string OnNonFinite { get; init; } = "stop";

    /// <summary>Seed of initial values, data order and dropout. 0 is a seed like any other.</summary>
    [Key(Min = 0)]
    public long Seed { get; init; } = 42;

    /// <summary>Keys of this section that do nothing as things are.</summary>
    public IEnumerable<IneffectiveKey> Ineffective()
    {
        var first = new TrainingOptions();
        var (optim, schedule) = ($"optim: {Optim}", $"lr_scheduler_type: {LrSchedulerType}");
        var isConstant = LrSchedulerType == LearningRateSchedule.Constant;
        return
        [
            .. IneffectiveKey.If(
                LoraplusLrRatio is null, "loraplus_lr_embedding", LoraplusLrEmbedding, first.LoraplusLrEmbedding,
                "loraplus_lr_ratio left out"),
            .. IneffectiveKey.If(Optim != "sgd", "momentum", Momentum, first.Momentum, optim),
            .. IneffectiveKey.If(Optim == "sgd", "adam_beta1", AdamBeta1, first.AdamBeta1, optim),
            .. IneffectiveKey.If(Optim == "sgd", "adam_beta2", AdamBeta2, first.AdamBeta2, optim),
            .. IneffectiveKey.If(Optim == "sgd", "adam_epsilon", AdamEpsilon, first.AdamEpsilon, optim),
            .. IneffectiveKey.If(isConstant, "min_lr_ratio", MinLrRatio, first.MinLrRatio, schedule),
            .. IneffectiveKey.If(WarmupSteps > 0, "warmup_ratio", WarmupRatio, first.WarmupRatio,
                $"warmup_steps: {WarmupSteps}"),
            .. IneffectiveKey.If(MaxSteps > 0, "num_train_epochs", NumTrainEpochs, first.NumTrainEpochs,
                $"max_steps: {MaxSteps}"),
            .. IneffectiveKey.If(
                EarlyStoppingPatience == 0, "early_stopping_threshold", EarlyStoppingThreshold,
                    first.EarlyStoppingThreshold,
                "early_stopping_patience: 0"),
            .. IneffectiveKey.If(SaveSteps == 0, "save_total_limit", SaveTotalLimit, first.SaveTotalLimit,
                "save_steps: 0"),
            .. Manifold.Ineffective(),
        ];
    }

    /// <summary>Steps between lines on the terminal (metrics.jsonl has every step).</summary>
    [Key(Min = 1)]
    public int LoggingSteps { get; init; } = 10;

    /// <summary>Steps between checkpoints; 0 saves only when interrupted.</summary>
    [Key(Min = 0)]
    public int SaveSteps { get; init; } = 500;

    /// <summary>Checkpoints kept, the best one not counted; 0 keeps all.</summary>
    [Key(Min = 0)]
    public int SaveTotalLimit { get; init; } = 2;

    /// <summary>Steps between evaluations on the held-out data; 0 evaluates only at the end.</summary>
    [Key(Min = 0)]
    public int EvalSteps { get; init; }

    /// <summary>Whether the bundle holds the parameters of the best evaluation instead of the last step's.</summary>
    [Key]
    public bool LoadBestModelAtEnd { get; init; }

    /// <summary>Evaluations without improvement after which training stops; 0 never stops early.</summary>
    [Key(Min = 0)]
    public int EarlyStoppingPatience { get; init; }

    /// <summary>How much the evaluation loss must fall to count as an improvement.</summary>
    [Key(Min = 0)]
    public double EarlyStoppingThreshold { get; init; }

    /// <summary>Seconds that one of several ranks may keep the others waiting before all end.</summary>
    [Key(Min = 1, Max = 1e7)]
    public int DdpTimeout { get; init; } = 1800;

    /// <summary>RoMA: tunes trained routers alone.</summary>
    /// <value>Default off.</value>
    [Key]
    public ManifoldOptions Manifold { get; init; } = new();

    /// <summary>One task after the other, each a stage that goes on from the bundle of the one before.</summary>
    /// <value>Default off.</value>
    [Key(Silent = true)]
    public ContinualOptions Continual { get; init; } = new();

    /// <summary>Where the numbers of a step go beside metrics.jsonl.</summary>
    /// <value>Default tensorboard; tensorboard or none.</value>
    [Key]
    public IReadOnlyList<string> ReportTo { get; init; } = ["tensorboard"];

    /// <summary>Reads and checks the section; faults are gathered in the reader.</summary>
    public static TrainingOptions Read(OptionReader reader)
    {
        var options = reader.Bind(new TrainingOptions());
        foreach (var sink in options.ReportTo.Where(sink => sink is not ("tensorboard" or "none")))
            reader.Fault("report_to", Quote.Of(sink), "tensorboard or none");
        if (options.ReportTo.Contains("none") && options.ReportTo.Count > 1)
            reader.Fault("report_to", string.Join(", ", options.ReportTo), "none alone, or what is to be written");
        if (options.MaxSteps == 0 && options.NumTrainEpochs == 0)
            reader.Fault("max_steps", "0, with num_train_epochs 0 as well", "one of the two above 0");
        if (options is { LearningRate: 0 } and ({ LoraplusLrRatio: not null } or { RouterLearningRate: not null }))
            reader.Fault("learning_rate", "0", "above 0 with loraplus_lr_ratio or router_learning_rate",
                "to train the routers alone, set `adapter.experts.train: false`");
        if (options.EvalSteps == 0 && (options.LoadBestModelAtEnd || options.EarlyStoppingPatience > 0))
            reader.Fault("eval_steps", "0", "at least 1 with load_best_model_at_end or early_stopping_patience");
        return options;
    }

    /// <summary>AdamW or SGD over these parameters; vectors (norm weights, biases) are never decayed.</summary>
    /// <exception cref="UserException">A learning rate is given that trains nothing.</exception>
    public Optimizer NewOptimizer(IReadOnlyList<(string Name, Parameter Parameter)> parameters)
    {
        List<ParamGroup> groups = [.. LearningRates.Of(this, parameters).SelectMany(group => new ParamGroup[]
        {
            new([.. group.Parameters.Where(pair => pair.Parameter.ndim > 1)], group.Multiplier),
            new([.. group.Parameters.Where(pair => pair.Parameter.ndim <= 1)], group.Multiplier, WeightDecay: 0),
        })];
        return Optim == "sgd"
            ? new SGD(groups, LearningRate, Momentum, weight_decay: WeightDecay)
            : new AdamW(groups, LearningRate, AdamBeta1, AdamBeta2, AdamEpsilon, WeightDecay);
    }

    /// <summary>Optimizer steps of the whole run.</summary>
    /// <param name="batchesPerEpoch">Asked only where epochs decide. Batches of an epoch may be smaller, so epochs are
    /// counted in
    /// batches.</param>
    public int TotalSteps(Func<long> batchesPerEpoch)
    {
        if (MaxSteps > 0)
            return MaxSteps;
        var steps = Math.Ceiling(batchesPerEpoch() * NumTrainEpochs / GradientAccumulationSteps);
        return (int)Math.Clamp(steps, 1, int.MaxValue);
    }
}

/// <summary>The learning rate as a function of the step alone, so that a resumed run needs no state for it.</summary>
/// <remarks>
/// Source: Hugging Face transformers, optimization.py (get_constant_schedule_with_warmup,
/// get_linear_schedule_with_warmup,
/// get_cosine_schedule_with_warmup); <c>floor</c> is the end value as a share of the peak.
/// Units: learning rate per optimizer step; steps count from 0, so with a warm-up the first step's rate is 0, as there.
/// </remarks>
public sealed class LearningRateSchedule(string kind, double peak, int warmupSteps, int totalSteps, double floor = 0)
{
    /// <summary>Stays at the peak.</summary>
    public const string Constant = "constant";

    /// <summary>Falls on a straight line.</summary>
    public const string Linear = "linear";

    /// <summary>Falls along half a cosine.</summary>
    public const string Cosine = "cosine";

    /// <summary>Steps in which the rate rises linearly from 0.</summary>
    public int WarmupSteps => warmupSteps;

    /// <summary>The schedule of a run.</summary>
    public static LearningRateSchedule From(TrainingOptions options, int totalSteps)
    {
        var warmup = options.WarmupSteps > 0
            ? options.WarmupSteps
            : (int)Math.Ceiling(options.WarmupRatio * totalSteps);
        return new(options.LrSchedulerType, options.LearningRate, warmup, totalSteps, options.MinLrRatio);
    }

    /// <summary>Learning rate of the step with this index, the first step being 0.</summary>
    public double At(int step)
    {
        if (step < warmupSteps)
            return peak * step / warmupSteps;
        var span = Math.Max(1, totalSteps - warmupSteps);
        var progress = Math.Clamp((step - warmupSteps) / (double)span, 0, 1);
        var share = kind switch
        {
            Constant => 1,
            Linear => floor + (1 - floor) * (1 - progress),
            Cosine => floor + (1 - floor) * 0.5 * (1 + Math.Cos(Math.PI * progress)),
            _ => throw new ArgumentException($"unknown schedule '{kind}'"),
        };
        return peak * share;
    }
}
