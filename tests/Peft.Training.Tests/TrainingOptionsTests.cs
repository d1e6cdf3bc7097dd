using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Training.Tests;

public sealed class TrainingOptionsTests
{
    [Fact]
    public void An_empty_section_gives_the_defaults()
    {
        var options = Read("{}");

        Assert.Equal(["tensorboard"], options.ReportTo);
        Assert.Equal(new TrainingOptions() with { ReportTo = options.ReportTo }, options);
        Assert.Equal((8, 16, 1, 2e-4, "cosine", "adamw"),
            (options.PerDeviceTrainBatchSize, options.PerDeviceEvalBatchSize,
            options.GradientAccumulationSteps, options.LearningRate, options.LrSchedulerType, options.Optim));
        Assert.Equal((0.9, 0.999, 1e-8, 0.0, 1.0, 42L), (options.AdamBeta1, options.AdamBeta2, options.AdamEpsilon,
            options.WeightDecay, options.MaxGradNorm, options.Seed));
        Assert.Equal((10, 500, 2, 0),
            (options.LoggingSteps, options.SaveSteps, options.SaveTotalLimit, options.EvalSteps));
    }

    [Fact]
    public void Every_key_is_read()
    {
        var options = Read("""
            {"per_device_train_batch_size": 3, "per_device_eval_batch_size": 5, "gradient_accumulation_steps": 2, "gradient_checkpointing": true, "max_steps": 9,
             "num_train_epochs": 2.5, "learning_rate": 0.001, "lr_scheduler_type": "linear", "warmup_ratio": 0.1, "warmup_steps": 4,
             "min_lr_ratio": 0.3, "optim": "sgd", "adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6, "weight_decay": 0.2,
             "momentum": 0.7, "max_grad_norm": 0, "on_non_finite": "skip", "seed": 0, "logging_steps": 1, "save_steps": 6, "save_total_limit": 0,
             "eval_steps": 8, "load_best_model_at_end": true, "early_stopping_patience": 11, "early_stopping_threshold": 0.01,
             "report_to": "none"}
            """);

        var expected = new TrainingOptions
        {
            PerDeviceTrainBatchSize = 3, PerDeviceEvalBatchSize = 5, GradientAccumulationSteps = 2,
            GradientCheckpointing = true, MaxSteps = 9,
            NumTrainEpochs = 2.5, LearningRate = 0.001, LrSchedulerType = "linear", WarmupRatio = 0.1, WarmupSteps = 4,
            MinLrRatio = 0.3, Optim = "sgd", AdamBeta1 = 0.8, AdamBeta2 = 0.95, AdamEpsilon = 1e-6, WeightDecay = 0.2,
            Momentum = 0.7, MaxGradNorm = 0, OnNonFinite = "skip", Seed = 0, LoggingSteps = 1, SaveSteps = 6,
            SaveTotalLimit = 0, EvalSteps = 8,
            LoadBestModelAtEnd = true, EarlyStoppingPatience = 11, EarlyStoppingThreshold = 0.01,
            ReportTo = options.ReportTo,
        };
        Assert.Equal(expected, options);
        Assert.Equal(["none"], options.ReportTo);
    }

    [Fact]
    public void All_faults_are_told_at_once()
    {
        var error = Assert.Throws<FaultsException>(() => Read("""
            {
             "per_device_train_batch_size": 0,
             "learning_rate": "fast",
             "lr_scheduler_type": "cosin",
             "optim": "adam",
             "max_steps": 0,
             "num_train_epochs": 0,
             "load_best_model_at_end": true,
             "report_to": ["wandb", "none"],
             "warmup_ration": 0.1
            }
            """));

        Assert.Equal(
            """
            r.json has 9 faults:
              line 2  training.per_device_train_batch_size  0; expected a whole number from 1 to 65536.
              line 3  training.learning_rate                'fast'; expected a number from 0 to 100.
              line 4  training.lr_scheduler_type            'cosin'; expected constant, linear or cosine. Did you mean cosine?
              line 5  training.optim                        'adam'; expected adamw or sgd. Did you mean adamw?
              line 6  training.max_steps                    0, with num_train_epochs 0 as well; expected one of the two above 0.
              line 9  training.report_to                    'wandb'; expected tensorboard or none.
              line 9  training.report_to                    wandb, none; expected none alone, or what is to be written.
              line 10  training.warmup_ration               unknown key. Did you mean warmup_ratio?
              training.eval_steps                           0; expected at least 1 with load_best_model_at_end or early_stopping_patience.
            """, error.Message);
    }

    [Theory]
    [InlineData("adam_beta1", "1")]
    [InlineData("adam_beta2", "-0.1")]
    [InlineData("momentum", "1")]
    [InlineData("warmup_ratio", "1.1")]
    [InlineData("min_lr_ratio", "-1")]
    [InlineData("max_grad_norm", "-1")]
    [InlineData("seed", "-1")]
    [InlineData("logging_steps", "0")]
    [InlineData("gradient_accumulation_steps", "1.5")]
    [InlineData("load_best_model_at_end", "1")]
    [InlineData("learning_rate", "1e999")]
    public void A_value_out_of_its_range_is_a_fault_at_its_key(string key, string value)
    {
        var error = Assert.Throws<FaultsException>(() => Read($$"""{"eval_steps": 1, "{{key}}": {{value}}}"""));
        Assert.Equal($"line 1  training.{key}", Assert.Single(error.Items).Place);
    }

    [Fact]
    public void Early_stopping_needs_evaluations()
    {
        var error = Assert.Throws<FaultsException>(() => Read("""{"early_stopping_patience": 2}"""));
        Assert.Equal(
            "r.json has 1 fault:\n  training.eval_steps  0; expected at least 1 with load_best_model_at_end or "
            + "early_stopping_patience.", error.Message);
    }

    [Theory]
    [InlineData(100, 10, 1, 1.0, 10)]
    [InlineData(101, 10, 1, 1.0, 11)]
    // 10 rows in batches of 4 are three batches an epoch (the last of 2): two epochs are six steps, not ceil(20 / 4).
    [InlineData(10, 4, 1, 2.0, 6)]
    [InlineData(10, 4, 2, 2.0, 3)]
    [InlineData(10, 4, 4, 2.0, 2)]
    [InlineData(10, 4, 1, 0.5, 2)]
    [InlineData(1, 64, 8, 0.1, 1)]
    [InlineData(4_000_000_000, 1, 1, 1000.0, int.MaxValue)]
    public void Epochs_become_steps(long rows, int batch, int accumulation, double epochs, int steps) =>
        Assert.Equal(steps, new TrainingOptions
        {
            PerDeviceTrainBatchSize = batch, GradientAccumulationSteps = accumulation, NumTrainEpochs = epochs,
        }.TotalSteps(() => (rows + batch - 1) / batch));

    [Fact]
    public void Max_steps_come_before_epochs() =>
        Assert.Equal(3,
            new TrainingOptions
            {
                MaxSteps = 3,
                NumTrainEpochs = 100
            }.TotalSteps(() => throw new InvalidOperationException("not asked")));

    private static TrainingOptions Read(string json)
    {
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(json, "r.json"), "training", faults);
        var options = TrainingOptions.Read(reader);
        reader.Finish();
        faults.ThrowIfAny("r.json");
        return options;
    }
}
