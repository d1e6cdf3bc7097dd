namespace Peft.Torch.Tests.Tensors;

public sealed class AutogradTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void Backward_accumulates_into_leaves()
    {
        var x = torch.tensor([1.0, 2, 3], requires_grad: true);
        (x * x * 2).sum().backward();
        Assert.Equal([4.0, 8, 12], x.grad!.data<double>());
        x.sum().backward();
        Assert.Equal([5.0, 9, 13], x.grad!.data<double>());
        x.zero_grad();
        Assert.Null(x.grad);
        x.grad = torch.ones(3, torch.float64);
        Assert.Equal([1.0, 1, 1], x.grad!.data<double>());
    }

    [Fact]
    public void A_gradient_may_be_given()
    {
        var x = torch.tensor([1.0, 2], requires_grad: true);
        (x * 3).backward(torch.tensor([1.0, 10]));
        Assert.Equal([3.0, 30], x.grad!.data<double>());
    }

    [Fact]
    public void Nothing_is_recorded_in_no_grad_and_the_mode_comes_back()
    {
        var x = torch.ones([1], requires_grad: true);
        using (torch.no_grad())
        {
            Assert.False(torch.is_grad_enabled());
            Assert.False((x * 2).requires_grad);
            using (torch.enable_grad()) Assert.True((x * 2).requires_grad);
            Assert.False(torch.is_grad_enabled());
        }

        Assert.True(torch.is_grad_enabled());
        Assert.False(x.detach().requires_grad);
        Assert.True(x.is_leaf);
        Assert.False((x * 2).is_leaf);
    }

    [Fact]
    public void Gradients_can_be_asked_for_directly()
    {
        var x = torch.tensor(3.0, requires_grad: true);
        var unused = torch.tensor([1.0, 1], requires_grad: true);
        var grads = torch.autograd.grad([x * x], [x, unused], materialize_grads: true);
        Assert.Equal(6, grads[0].item<double>());
        Assert.Equal([0.0, 0], grads[1].data<double>());
        Assert.Null(x.grad);
        Assert.Throws<TorchException>(() => torch.autograd.grad([x * x], [unused]));
    }

    [Fact]
    public void Second_derivatives_are_recorded_where_asked_for()
    {
        var x = torch.tensor(2.0, requires_grad: true);
        var first = torch.autograd.grad([x.pow(3)], [x], create_graph: true)[0];
        Assert.Equal(12, torch.autograd.grad([first], [x])[0].item<double>(), 1e-12);
    }

    [Fact]
    public void The_gradient_of_an_inner_tensor_is_kept_where_asked_for()
    {
        var x = torch.tensor(2.0, requires_grad: true);
        var y = x * 3;
        y.retain_grad();
        (y * y).backward();
        Assert.Equal(12, y.grad!.item<double>());
    }

    [Fact]
    public void Backward_from_several_tensors_adds_their_gradients()
    {
        var x = torch.tensor([2.0, 3], requires_grad: true);
        torch.autograd.backward([x * x, x.sum()], [torch.tensor([1.0, 10]), torch.tensor(5.0)]);
        Assert.Equal([4.0 + 5, 60 + 5], x.grad!.data<double>());
    }

    [Fact]
    public void Backward_without_a_graph_names_itself()
    {
        var error = Assert.Throws<TorchException>(() => torch.ones(1).backward());
        Assert.Equal("backward", error.Operation);
    }

    [Fact]
    public void Gradients_flow_through_joining_and_choosing()
    {
        var a = torch.tensor([1.0, 2], requires_grad: true);
        var b = torch.tensor([3.0, 4], requires_grad: true);
        var joined = torch.cat([a, b]);
        joined.index_select(0, torch.tensor([1L, 1, 2])).sum().backward();
        Assert.Equal([0.0, 2], a.grad!.data<double>());
        Assert.Equal([1.0, 0], b.grad!.data<double>());
    }
}
