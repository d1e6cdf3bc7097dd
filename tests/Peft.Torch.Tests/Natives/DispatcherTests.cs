using static Peft.Torch.Natives.Dispatcher;

namespace Peft.Torch.Tests.Natives;

public sealed class DispatcherTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void An_operation_is_called_with_every_kind_of_argument_and_has_its_gradient()
    {
        using var random = new Generator(1);
        var x = Check.Leaf(random, ScalarType.Float64, 2, 3);
        var weight = Check.Leaf(random, ScalarType.Float64, 3);
        Check.Gradients(
            t => Call("aten::rms_norm"u8, ""u8, 1, t[0], Argument.List(3), Argument.Optional(t[1]),
            Argument.Optional(1e-5))[0], [x, weight]);
        Check.Near(Call("aten::sum"u8, "dim_IntList"u8, 1, x, Argument.Optional(0, 1), true, Argument.None)[0],
            x.sum([0, 1], keepdim: true), 1e-15);
        Check.Near(Call("aten::stack"u8, ""u8, 1, Argument.List([x, x]), 1L)[0], torch.stack([x, x], 1), 0);
    }

    [Fact]
    public void Several_results_come_in_their_order()
    {
        var x = torch.tensor(new[] { 3.0, 1, 2 });
        var sorted = Call("aten::sort"u8, ""u8, 2, x, 0L, false);
        Assert.Equal([1.0, 2, 3], sorted[0].data<double>().ToArray());
        Assert.Equal([1L, 2, 0], sorted[1].data<long>().ToArray());
    }

    [Fact]
    public void A_failure_is_an_exception_that_names_the_operation()
    {
        var error = Assert.Throws<InvalidOperationException>(
            () => Call("aten::mm"u8, ""u8, 1, torch.ones(2, 3), torch.ones(2, 3)));
        Assert.Contains("aten::mm failed", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<InvalidOperationException>(() => Call("aten::no_such"u8, "out"u8, 1, torch.ones(2, 3)));
        Assert.Contains("aten::no_such.out failed", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Arguments_keep_their_owners_and_results_belong_to_the_scope()
    {
        using var x = torch.ones(4).DetachFromDisposeScope();
        var before = LiveTensors.Settled();
        using (torch.NewDisposeScope())
        {
            for (var i = 0; i < 10; i++) Call("aten::relu"u8, ""u8, 1, x);
        }

        Assert.Equal(before, LiveTensors.Settled());
        Assert.Equal(4, x.sum().ToSingle());
    }
}
