namespace Peft.Torch.Tests;

public sealed class ScopesTests
{
    [Fact]
    public void A_parameter_shares_the_elements_and_leaves_the_tensor_alive()
    {
        using var data = torch.ones([3]);
        using var parameter = data.ToParameter();
        using (torch.no_grad())
            parameter.add_(1);

        Assert.Equal([2f, 2f, 2f], data.data<float>().ToArray());
        Assert.True(parameter.requires_grad);
        Assert.True(parameter.is_leaf);
    }

    [Fact]
    public void A_parameter_outlives_the_scope_that_it_was_made_in()
    {
        Parameter parameter;
        using (torch.NewDisposeScope())
            parameter = torch.ones([2]).ToParameter(requires_grad: false);

        Assert.Equal([1f, 1f], parameter.data<float>().ToArray());
        parameter.Dispose();
    }

    [Fact]
    public void A_parameter_counts_once_and_not_at_all_when_disposed()
    {
        using var data = torch.ones([3]);
        var before = TorchRuntime.LiveTensorCount;
        var parameter = data.ToParameter();
        Assert.Equal(before + 1, TorchRuntime.LiveTensorCount);
        parameter.Dispose();
        LiveTensors.AssertNoMoreThan(before);
    }

    [Fact]
    public void The_innermost_open_scope_is_known()
    {
        Assert.Null(Scopes.Current);
        using var outer = torch.NewDisposeScope();
        using (var inner = torch.NewDisposeScope())
            Assert.Same(inner, Scopes.Current);
        Assert.Same(outer, Scopes.Current);
    }
}
