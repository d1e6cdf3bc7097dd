using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Tests.Lora;

/// <summary>Experts that every token gets (DeepSeekMoE).</summary>
public sealed class SharedExpertTests : TensorTests
{
    private const string Options = """
        {"method": "mixture", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"],
         "experts": {"count": 3, "shared": 2}, "router": {"kind": "top-k", "top_k": 2}}
        """;

    [Fact]
    public void A_projection_adds_every_shared_expert_with_weight_1()
    {
        var module = Module();
        var x = torch.randn([2, 5, 16], generator: Seeds.GeneratorFor(2, "x"));
        var pass = ForwardPass.ForInference();

        var y = module.Forward(x, pass);

        var gates = pass.Records<RoutingRecord>().Single().Decision.Gates;
        Assert.Equal([10, 3], gates.shape);
        var flat = x.reshape(10, 16);
        var expected = module.Wrapped.Forward(x, pass).reshape(10, -1);
        for (var expert = 0; expert < 5; expert++)
        {
            var gate = expert < 3 ? gates.select(1, expert).unsqueeze(1) : torch.ones([10, 1]);
            expected += gate * flat.mm(module.DownOf(expert).t()).mm(module.UpOf(expert).t()) * 3;
        }

        Golden.Near(expected, y.reshape(10, -1));
    }

    [Fact]
    public void Shared_experts_learn_from_every_token_and_are_counted()
    {
        var adapted = New();
        var module = adapted.Modules[0];

        adapted.Model.Forward(TinyModel.Ids, ForwardPass.ForTraining()).sum().backward();

        Assert.Equal([10, 16], module.Down.shape);
        Assert.Equal([16, 10], module.Up.shape);
        // Two modules: A and B of five experts, a gate for each of three.
        Assert.Equal(2 * ((10 * 16) + (16 * 10) + (3 * 16)), adapted.TrainableParameterCount);
        Assert.True(module.Up.grad!.narrow(1, 6, 4).abs().amax(0L).gt(0).all().item<bool>());
        Assert.True(module.Down.grad!.narrow(0, 6, 4).abs().amax(1L).gt(0).all().item<bool>());
    }

    [Fact]
    public void Without_the_key_nothing_changes()
    {
        var without = AdapterOptionsTests.Read(Options.Replace(", \"shared\": 2", "", StringComparison.Ordinal));

        Assert.Equal(0, without.Experts.Shared);
        Assert.False(without.ToJson()["experts"]!.AsObject().ContainsKey("shared"));
        var first = AdapterAttachment.Attach(Tiny.New(), without, seed: 1).Modules[0].Down;
        Assert.True(first.SameAs(AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(Options), seed: 1)
            .Modules[0].Down.narrow(0, 0, 6)));
    }

    [Fact]
    public void Constant_gates_leave_the_shared_experts_whole()
    {
        var module = Module();

        var up = module.WeightedUp(torch.tensor(new[] { 0.5f, 0f, 2f }));

        Golden.Near(module.Up.narrow(1, 6, 4) * 3, up.narrow(1, 6, 4));
        Golden.Near(module.UpOf(2) * 6, up.narrow(1, 4, 2));
    }

    [Theory]
    [InlineData(
        """{"experts": {"shared": 1}}""",
        "adapter.experts.shared: 1; expected 0 where there is no router. Shared experts stand beside routed ones: "
            + "write method: mixture.")]
    [InlineData(
        """{"method": "mixture", "r": 4, "experts": {"shared": 2}, "router": {"kind": "random-projection"}}""",
        "adapter.experts.shared: 2; expected 0 with router.kind: random-projection. It chooses ranks of one adapter, "
            + "beside which no other expert stands.")]
    public void They_are_refused_where_nothing_is_routed_beside_them(string json, string message)
    {
        var faults = new Faults();

        AdapterOptions.Read(new OptionReader(ConfigJson.Parse(json, "adapter"), "adapter", faults));

        Assert.EndsWith(message, Assert.Single(faults.Items).ToString(), StringComparison.Ordinal);
    }

    private AdaptedModel New()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(Options), seed: 1);
        using var off = torch.no_grad();
        foreach (var module in adapted.Modules)
            module.Up.normal_(0, 0.3, Seeds.GeneratorFor(9, module.Path));
        return adapted;
    }

    private MixtureProjection Module() => New().Modules[0];
}
