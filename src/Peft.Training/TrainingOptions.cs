using Peft.Formats.Configuration;

namespace Peft.Training;

/// <summary>The <c>training:</c> section of a recipe; names and meanings follow Hugging Face's TrainingArguments.</summary>
public sealed record TrainingOptions
{
    /// <summary>Rows in one forward pass: sequences, or rows that several share with <c>data.packing</c>.</summary>
    /// <value>Default 8; at least 1.</value>
    public int PerDeviceTrainBatchSize { get; init; } = 8;

    /// <summary>Sequences in one forward pass of an evaluation.</summary>
    /// <value>Default 16; at least 1.</value>
    public int PerDeviceEvalBatchSize { get; init; } = 16;

    /// <summary>Forward and backward passes that make one optimizer step. The loss is divided once, by the learned
    /// tokens of the whole step, so that accumulating equals one large batch.</summary>
    /// <value>Default 1; at least 1.</value>
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>Whether the blocks' activations are computed again in the backward pass instead of kept: a third more
    /// computation, memory of one block; the numbers are the same.</summary>
    public bool GradientCheckpointing { get; init; }

    /// <summary>Optimizer steps; 0 means that <see cref="NumTrainEpochs"/> decides.</summary>
    public int MaxSteps { get; init; }

    /// <summary>Passes over the data when <see cref="MaxSteps"/> is 0.</summary>
    public double NumTrainEpochs { get; init; } = 1;

    /// <summary>Peak learning rate.</summary>
    /// <value>Default 2e-4, usual for LoRA; full training of a small model wants about 1e-3.</value>
    public double LearningRate { get; init; } = 2e-4;

    /// <summary>Shape of the learning rate over the steps: constant, linear or cosine (all after the warm-up).</summary>
    public string LrSchedulerType { get; init; } = "cosine";

    /// <summary>Share of all steps in which the learning rate rises from 0; used when <see cref="WarmupSteps"/> is 0.</summary>
    public double WarmupRatio { get; init; }

    /// <summary>Steps in which the learning rate rises from 0.</summary>
    public int WarmupSteps { get; init; }

    /// <summary>Learning rate at the end of linear and cosine, as a share of the peak.</summary>
    public double MinLrRatio { get; init; }

    /// <summary>The optimizer: adamw or sgd.</summary>
    public string Optim { get; init; } = "adamw";

    /// <summary>AdamW's decay of the gradient mean.</summary>
    public double AdamBeta1 { get; init; } = 0.9;

    /// <summary>AdamW's decay of the squared gradient's mean.</summary>
    public double AdamBeta2 { get; init; } = 0.999;

    /// <summary>AdamW's epsilon.</summary>
    public double AdamEpsilon { get; init; } = 1e-8;

    /// <summary>Decoupled weight decay; vectors (norms, biases) are never decayed.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Momentum of SGD.</summary>
    public double Momentum { get; init; }

    /// <summary>Gradients are scaled down to this norm over all parameters; 0 switches clipping off.</summary>
    public double MaxGradNorm { get; init; } = 1;

    /// <summary>What a step does whose loss or gradient is not a finite number: stop ends the run, skip leaves the parameters
    /// as they are and goes on with the next rows (ten such steps in a row end the run all the same).</summary>
    public string OnNonFinite { get; init; } = "stop";

    /// <summary>Seed of initial values, data order and dropout. 0 is a seed like any other.</summary>
    public long Seed { get; init; } = 42;

    /// <summary>Steps between lines on the terminal (metrics.jsonl has every step).</summary>
    public int LoggingSteps { get; init; } = 10;

    /// <summary>Steps between checkpoints; 0 saves only when interrupted.</summary>
    public int SaveSteps { get; init; } = 500;

    /// <summary>Checkpoints kept, the best one not counted; 0 keeps all.</summary>
    public int SaveTotalLimit { get; init; } = 2;

    /// <summary>Steps between evaluations on the held-out data; 0 evaluates only at the end.</summary>
    public int EvalSteps { get; init; }

    /// <summary>Whether the bundle holds the parameters of the best evaluation instead of the last step's.</summary>
    public bool LoadBestModelAtEnd { get; init; }

    /// <summary>Evaluations without improvement after which training stops; 0 never stops early.</summary>
    public int EarlyStoppingPatience { get; init; }

    /// <summary>How much the evaluation loss must fall to count as an improvement.</summary>
    public double EarlyStoppingThreshold { get; init; }

    /// <summary>Where the numbers of a step go beside metrics.jsonl: tensorboard or nothing.</summary>
    public IReadOnlyList<string> ReportTo { get; init; } = ["tensorboard"];

    /// <summary>Reads and checks the section; faults are gathered in the reader.</summary>
    public static TrainingOptions Read(OptionReader reader)
    {
        var d = new TrainingOptions();
        var options = new TrainingOptions
        {
            PerDeviceTrainBatchSize =
                reader.Integer("per_device_train_batch_size", d.PerDeviceTrainBatchSize, 1, 65536),
            PerDeviceEvalBatchSize = reader.Integer("per_device_eval_batch_size", d.PerDeviceEvalBatchSize, 1, 65536),
            GradientAccumulationSteps =
                reader.Integer("gradient_accumulation_steps", d.GradientAccumulationSteps, 1, 65536),
            GradientCheckpointing = reader.Boolean("gradient_checkpointing", d.GradientCheckpointing),
            MaxSteps = reader.Integer("max_steps", d.MaxSteps, 0),
            NumTrainEpochs = reader.Number("num_train_epochs", d.NumTrainEpochs, 0, 1e6),
            LearningRate = reader.Number("learning_rate", d.LearningRate, 0, 100),
            LrSchedulerType = reader.Choice("lr_scheduler_type", d.LrSchedulerType, LearningRateSchedule.Kinds),
            WarmupRatio = reader.Number("warmup_ratio", d.WarmupRatio, 0, 1),
            WarmupSteps = reader.Integer("warmup_steps", d.WarmupSteps, 0),
            MinLrRatio = reader.Number("min_lr_ratio", d.MinLrRatio, 0, 1),
            Optim = reader.Choice("optim", d.Optim, ["adamw", "sgd"]),
            AdamBeta1 = reader.Number("adam_beta1", d.AdamBeta1, 0, 0.999999),
            AdamBeta2 = reader.Number("adam_beta2", d.AdamBeta2, 0, 0.9999999),
            AdamEpsilon = reader.Number("adam_epsilon", d.AdamEpsilon, 0, 1),
            WeightDecay = reader.Number("weight_decay", d.WeightDecay, 0, 10),
            Momentum = reader.Number("momentum", d.Momentum, 0, 0.9999),
            MaxGradNorm = reader.Number("max_grad_norm", d.MaxGradNorm, 0),
            OnNonFinite = reader.Choice("on_non_finite", d.OnNonFinite, ["stop", "skip"]),
            Seed = reader.Long("seed", d.Seed, 0),
            LoggingSteps = reader.Integer("logging_steps", d.LoggingSteps, 1),
            SaveSteps = reader.Integer("save_steps", d.SaveSteps, 0),
            SaveTotalLimit = reader.Integer("save_total_limit", d.SaveTotalLimit, 0),
            EvalSteps = reader.Integer("eval_steps", d.EvalSteps, 0),
            LoadBestModelAtEnd = reader.Boolean("load_best_model_at_end", d.LoadBestModelAtEnd),
            EarlyStoppingPatience = reader.Integer("early_stopping_patience", d.EarlyStoppingPatience, 0),
            EarlyStoppingThreshold = reader.Number("early_stopping_threshold", d.EarlyStoppingThreshold, 0),
            ReportTo = reader.Texts("report_to", d.ReportTo),
        };
        foreach (var sink in options.ReportTo.Where(s => s is not ("tensorboard" or "none")))
            reader.Fault("report_to", sink, "tensorboard or none");
        if (options.MaxSteps == 0 && options.NumTrainEpochs == 0)
            reader.Fault("max_steps", "0 steps and 0 epochs", "one of max_steps and num_train_epochs above 0");
        if (options.EvalSteps == 0 && (options.LoadBestModelAtEnd || options.EarlyStoppingPatience > 0))
            reader.Fault("eval_steps", "0", "at least 1 with load_best_model_at_end or early_stopping_patience");
        return options;
    }

    /// <summary>Optimizer steps of the whole run.</summary>
    /// <param name="batchesPerEpoch">Asked only where epochs decide. Batches of an epoch may be smaller, so epochs are counted in
    /// batches.</param>
    public int TotalSteps(Func<long> batchesPerEpoch)
    {
        if (MaxSteps > 0)
            return MaxSteps;
        var steps = Math.Ceiling(batchesPerEpoch() * NumTrainEpochs / GradientAccumulationSteps);
        return (int)Math.Clamp(steps, 1, int.MaxValue);
    }
}
