namespace Peft.Torch.Tests.Tensors;

public class DisposeScopeTests
{
    [Fact]
    public void Closing_a_scope_frees_what_was_made_in_it()
    {
        var before = LiveTensors.Settled();
        Tensor made;
        using (var scope = torch.NewDisposeScope())
        {
            made = torch.ones(2) + torch.ones(2);
            Assert.Equal(3, scope.Count);
            Assert.Equal(before + 3, torch.LiveTensorCount);
        }

        Assert.True(made.IsInvalid);
        Assert.Equal(before, torch.LiveTensorCount);
    }

    [Fact]
    public void A_tensor_moved_outward_dies_with_the_outer_scope()
    {
        Tensor kept;
        using (var outer = torch.NewDisposeScope())
        {
            using (torch.NewDisposeScope())
            {
                kept = torch.ones(2).MoveToOuterDisposeScope();
            }

            Assert.False(kept.IsInvalid);
            Assert.Equal(1, outer.Count);
        }

        Assert.True(kept.IsInvalid);
    }

    [Fact]
    public void A_tensor_moved_out_of_the_outermost_scope_is_the_callers()
    {
        Tensor kept, detached;
        using (var scope = torch.NewDisposeScope())
        {
            kept = scope.MoveToOuter(torch.ones(2));
            detached = torch.ones(2).DetachFromDisposeScope();
        }

        Assert.False(kept.IsInvalid);
        Assert.False(detached.IsInvalid);
        kept.Dispose();
        detached.Dispose();
    }

    [Fact]
    public void Attach_takes_a_tensor_from_wherever_it_was()
    {
        var free = torch.ones(2);
        using (var outer = torch.NewDisposeScope())
        {
            outer.Attach(free);
            var first = torch.ones(1);
            using (var inner = torch.NewDisposeScope())
            {
                inner.Attach(first);
            }

            Assert.True(first.IsInvalid);
            Assert.False(free.IsInvalid);
        }

        Assert.True(free.IsInvalid);
    }

    [Fact]
    public void A_tensor_disposed_early_leaves_its_scope()
    {
        using var scope = torch.NewDisposeScope();
        var a = torch.ones(1);
        var b = torch.ones(1);
        var c = torch.ones(1);
        a.Dispose();
        Assert.Equal(2, scope.Count);
        c.Dispose();
        b.Dispose();
        b.Dispose();
        Assert.Equal(0, scope.Count);
    }

    [Fact]
    public void Closing_out_of_order_throws()
    {
        var outer = torch.NewDisposeScope();
        var inner = torch.NewDisposeScope();
        var error = Assert.Throws<InvalidOperationException>(outer.Dispose);
        Assert.StartsWith("dispose scope - closed while a scope inside it is open", error.Message, StringComparison.Ordinal);
        inner.Dispose();
        outer.Dispose();
    }

    [Fact]
    public void Closing_on_another_thread_throws()
    {
        var scope = torch.NewDisposeScope();
        Exception? error = null;
        var thread = new Thread(() => error = Record.Exception(scope.Dispose));
        thread.Start();
        thread.Join();
        Assert.IsType<InvalidOperationException>(error);
        Assert.Contains("another thread", error.Message, StringComparison.Ordinal);
        scope.Dispose();
    }

    [Fact]
    public void Parameters_are_never_members()
    {
        Parameter parameter;
        using (var scope = torch.NewDisposeScope())
        {
            parameter = new Parameter(torch.ones(2));
            scope.Attach(parameter);
        }

        Assert.False(parameter.IsInvalid);
        Assert.Equal([1f, 1f], parameter.data<float>());
        parameter.Dispose();
    }

    [Fact]
    public void Backward_works_after_its_intermediates_were_freed()
    {
        var before = LiveTensors.Settled();
        using (torch.NewDisposeScope())
        {
            var x = torch.tensor([1f, 2f, 3f], requires_grad: true);
            Tensor loss;
            using (torch.NewDisposeScope())
            {
                var squared = x * x;
                loss = squared.exp().sum().MoveToOuterDisposeScope();
            }

            loss.backward();
            Assert.Equal(2 * 2 * Math.Exp(4), x.grad!.data<float>()[1], 1e-3);
        }

        Assert.Equal(before, torch.LiveTensorCount);
    }
}
