using Peft.Adapters.Lora;

namespace Peft.Adapters.Tests.Lora;

public sealed class LoraInitializationTests
{
    [Fact]
    public void Another_expert_or_module_never_changes_first_values()
    {
        using var scope = torch.NewDisposeScope();

        var two = LoraInitialization.Down("layers.0.q_proj", 2, 4, 16, "true", 7);
        var five = LoraInitialization.Down("layers.0.q_proj", 5, 4, 16, "true", 7);
        var other = LoraInitialization.Down("layers.0.k_proj", 2, 4, 16, "true", 7);

        Assert.True(two.SameAs(five.narrow(0, 0, 8)));
        Assert.False(two.SameAs(other));
        Assert.False(two.narrow(0, 0, 4).SameAs(two.narrow(0, 4, 4)));
    }

    [Fact]
    public void Kaiming_with_a_root_five_is_uniform_within_one_over_root_width()
    {
        using var scope = torch.NewDisposeScope();

        var down = LoraInitialization.Down("m", 4, 32, 64, "true", 1);

        Assert.True(down.abs().max().ToDouble() <= 1 / Math.Sqrt(64));
        Assert.InRange(down.std().ToDouble(), 0.9 / Math.Sqrt(3 * 64), 1.1 / Math.Sqrt(3 * 64));
    }

    [Fact]
    public void Gaussian_has_deviation_one_over_rank()
    {
        using var scope = torch.NewDisposeScope();

        var down = LoraInitialization.Down("m", 4, 32, 64, "gaussian", 1);

        Assert.InRange(down.std().ToDouble(), 0.9 / 32, 1.1 / 32);
    }
}
