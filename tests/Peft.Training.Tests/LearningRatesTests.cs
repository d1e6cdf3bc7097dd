using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Training.Tests;

/// <summary>Which learning rate trains what; the numbers of LoRA+ are those of the case init_variants of second.json,
/// which PEFT's own grouping agreed with.</summary>
public sealed class LearningRatesTests
{
    [Theory]
    [InlineData("layers.0.q_proj.lora_A", 2, 0.0002)]
    [InlineData("layers.0.q_proj.lora_B", 2, 0.0032)]
    [InlineData("layers.0.q_proj.lora_magnitude_vector", 1, 0.0032)]
    [InlineData("layers.0.router.weight", 2, 0.0002)]
    [InlineData("embed_tokens.lora_embedding_B", 2, 1e-6)]
    public void Lora_plus_groups_as_peft_does(string name, int dimensions, double rate)
    {
        var options = new TrainingOptions { LearningRate = 0.0002, LoraplusLrRatio = 16 };

        var key = LearningRates.KeyOf(options, name, dimensions);

        Assert.Equal(rate, options.LearningRate * LearningRates.MultiplierOf(options, key), 1e-12);
    }

    [Fact]
    public void Routers_have_their_own_rate_before_lora_plus()
    {
        using var scope = torch.NewDisposeScope();
        var options = new TrainingOptions { LearningRate = 0.001, LoraplusLrRatio = 4, RouterLearningRate = 0.0005 };

        var groups = LearningRates.Of(options, Parameters("q.lora_A", "q.lora_B", "q.router.weight", "q.router.bias"));

        Assert.Equal(["learning_rate", "loraplus_lr_ratio", "router_learning_rate"], groups.Select(group => group.Key));
        Assert.Equal([1, 4, 0.5], groups.Select(group => group.Multiplier));
        Assert.Equal(["router.bias", "router.weight"], groups[2].Kinds);
        Assert.Equal(6, groups[2].Count);
    }

    [Theory]
    [InlineData("adamw")]
    [InlineData("sgd")]
    public void A_step_moves_each_parameter_by_its_own_rate(string optim)
    {
        var options = new TrainingOptions
        {
            Optim = optim, LearningRate = 0.01, LoraplusLrRatio = 8, RouterLearningRate = 0.002,
        };
        using var scope = torch.NewDisposeScope();
        var parameters = Parameters("q.lora_A", "q.lora_B", "q.router.weight");
        using var optimizer = options.NewOptimizer(parameters);
        foreach (var (_, parameter) in parameters)
            parameter.sum().backward(); // each gradient is 1: Adam's first step is the rate, and so is that of SGD

        optimizer.lr /= 2; // as the schedule has it, half way
        optimizer.step();

        Assert.Equal([0.995f, 0.96f, 0.999f], parameters.Select(pair => pair.Parameter.min().item<float>()));
    }

    [Fact]
    public void Without_the_keys_there_is_one_rate()
    {
        using var scope = torch.NewDisposeScope();

        var groups = LearningRates.Of(new TrainingOptions(), Parameters("q.lora_A", "q.lora_B", "q.router.weight"));

        Assert.Equal(("learning_rate", 1.0, 12L), Assert.Single(groups) is var all
            ? (all.Key, all.Multiplier, all.Count) : default);
    }

    [Fact]
    public void A_rate_that_trains_nothing_is_refused()
    {
        using var scope = torch.NewDisposeScope();
        var router = new TrainingOptions { RouterLearningRate = 0.01 };
        var ratio = new TrainingOptions { LoraplusLrRatio = 16 };

        Assert.Equal(
            "training.router_learning_rate: 0.01, and no router has parameters that learn; expected a router that "
            + "learns. Leave it out otherwise.",
            Assert.Throws<UserException>(() => router.NewOptimizer(Parameters("q.lora_A", "q.lora_B"))).Message);
        Assert.Equal(
            "training.loraplus_lr_ratio: 16, and no lora_B learns; expected adapters that learn. Leave it out "
            + "otherwise.",
            Assert.Throws<UserException>(() => ratio.NewOptimizer(Parameters("model.norm.weight"))).Message);
    }

    [Fact]
    public void Rates_that_follow_a_rate_of_zero_are_refused()
    {
        var faults = new Faults();
        var reader = new OptionReader(
            ConfigJson.Parse("""{"learning_rate": 0, "router_learning_rate": 0.1}""", "r.json"), "training", faults);

        TrainingOptions.Read(reader);

        Assert.Equal(
            "r.json has 1 fault:\n  line 1  training.learning_rate  0; expected above 0 with loraplus_lr_ratio or "
            + "router_learning_rate. To train the routers alone, set `adapter.experts.train: false`.",
            Assert.Throws<FaultsException>(() => faults.ThrowIfAny("r.json")).Message);
    }

    private static List<(string Name, Parameter Parameter)> Parameters(params string[] names) =>
        [.. names.Select(name => (name, (name.EndsWith("bias", StringComparison.Ordinal)
            ? torch.ones([2]) : torch.ones([2, 2])).ToParameter()))];
}
