using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>The routing cases of flylora.json, to 1e-5.</summary>
public sealed class FlyLoraGoldenTests : TensorTests
{
    private const string File = "flylora.json";

    [Theory]
    [InlineData("magnitude", "paper")]
    [InlineData("signed", "peft")]
    public void The_strongest_ranks_work_and_the_bias_moves_against_the_load(string score, string variant)
    {
        var golden = Golden.Case(File, "forward_and_bias_update");
        var expected = golden.ExpectedSection(variant);
        var projection = Build(golden, score);
        var pass = ForwardPass.ForTraining();

        var output = projection.Forward(golden.Input("x"), pass);

        var decision = pass.Records<RoutingRecord>()[0].Decision;
        Golden.Near(expected("mask"), decision.Gates);
        Golden.Near(expected("output"), output);
        var counts = decision.Selected.to(torch.float32).sum(0L);
        Golden.Near(expected("counts"), counts);
        ((ILoadBalanced)projection.Router!).Balance(new(counts));
        Golden.Near(expected("new_d"), projection.Router.named_buffers().Single().buffer, 1e-6);
    }

    [Fact]
    public void Only_the_columns_of_working_ranks_learn()
    {
        var golden = Golden.Case(File, "grad_B");
        var projection = Build(golden, "magnitude");
        var error = projection.Forward(golden.Input("x"), ForwardPass.ForTraining()) - golden.Input("target");

        ((error * error).sum() * 0.5).backward();

        Golden.Near(golden.Expected("grad_B"), projection.Up.grad!);
        Assert.Null(projection.Down.grad);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_input_gets_the_adapters_gradient_only_where_it_is_not_detached(bool detached)
    {
        var golden = Golden.Case(File, "grad_B");
        var projection = Build(golden, "magnitude", detached);
        var x = golden.Input("x").requires_grad_();
        var pass = ForwardPass.ForTraining();

        projection.Forward(x, pass).sum().backward();

        var gates = pass.Records<RoutingRecord>()[0].Decision.Gates;
        var through = golden.Input("W").sum(0L).unsqueeze(0).expand(5, 8);
        if (!detached)
            through = through
                + torch.matmul(
                    golden.Input("B").sum(0L).unsqueeze(0) * gates, golden.Input("A")) * projection.Shape.Scale;
        Golden.Near(through, x.grad!);
    }

    [Fact]
    public void Every_row_of_the_projection_has_the_same_number_of_values()
    {
        var options = new RandomProjectionRouterOptions { TopK = 8, Density = 0.25 };

        var down = options.FirstDown("m", 32, 1024, 3);

        Assert.All(down.ne(0).to(torch.float32).sum(1L).data<float>().ToArray(), count => Assert.Equal(256, count));
        var deviation = Math.Sqrt((down * down).sum().ToDouble() / (32 * 256));
        Assert.InRange(deviation, 0.95 / 32, 1.05 / 32);
        Assert.True(down.SameAs(options.FirstDown("m", 32, 1024, 3)));
        Assert.False(down.SameAs((options with { ProjectionSeed = 4 }).FirstDown("m", 32, 1024, 3)));
    }

    [Fact]
    public void A_sparsity_that_leaves_rows_empty_is_refused()
    {
        var error = Assert.Throws<UserException>(
            () => new RandomProjectionRouterOptions { Density = 0.01 }.FirstDown("layers.0.q_proj", 4, 50, 1));

        Assert.Equal(
            "layers.0.q_proj: rows of A without a number (adapter.router.density: 0.01 of 50 inputs); expected a "
                + "density of at least 0.02.", error.Message);
    }

    private static MixtureProjection Build(Golden golden, string score, bool detached = true)
    {
        var down = golden.Input("A").ToParameter(false);
        var options = new RandomProjectionRouterOptions
        {
            TopK = (int)golden.Parameter("k"), SelectionScore = score, DetachProjection = detached, BiasRate = 0.001,
        };
        var router = new RandomProjectionRouter(options, new RouterContext("m", 8, 1, 4, 1, down));
        using var off = torch.no_grad();
        router.named_buffers().Single().buffer.copy_(golden.Input("d"));
        var projection = new MixtureProjection(
            new BaseLinear("m", golden.Input("W").ToParameter(false)),
            new MixtureShape(1, 4, golden.Parameter("alpha") / golden.Parameter("r")), router, down);
        projection.Up.copy_(golden.Input("B"));
        return projection;
    }
}
