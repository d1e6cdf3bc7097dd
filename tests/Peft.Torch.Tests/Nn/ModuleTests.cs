namespace Peft.Torch.Tests.Nn;

public class ModuleTests
{
    [Fact]
    public void Names_are_dotted_and_in_order_of_registration()
    {
        using var model = new Pair();
        Assert.Equal(["scale", "first.weight", "second.weight"], model.named_parameters().Select(p => p.name));
        Assert.Equal(["x.scale"], model.named_parameters(recurse: false, prefix: "x").Select(p => p.name));
        Assert.Equal(["first.table", "second.table"], model.named_buffers().Select(b => b.name));
        Assert.Empty(model.named_buffers(persistentOnly: true));
        Assert.Equal(["", "first", "second"], model.named_modules().Select(m => m.name));
    }

    [Fact]
    public void A_parameter_registered_twice_comes_once()
    {
        using var model = new Tied();
        Assert.Equal(["a"], model.named_parameters().Select(p => p.name));
    }

    [Fact]
    public void Disposing_frees_everything()
    {
        var before = LiveTensors.Settled();
        using (torch.NewDisposeScope())
        {
            using var model = new Pair();
            Assert.True(torch.LiveTensorCount > before);
        }

        Assert.Equal(before, torch.LiveTensorCount);
    }

    [Fact]
    public void Moving_to_a_type_keeps_parameters_the_same_leaves()
    {
        using var model = new Pair();
        var weight = model.First.Weight;
        model.to(dtype: torch.bfloat16);
        Assert.Same(weight, model.First.Weight);
        Assert.Equal(torch.bfloat16, weight.dtype);
        Assert.Equal(torch.int64, model.First.named_buffers().Single().buffer.dtype);
        using var scope = torch.NewDisposeScope();
        (weight * 2).sum().backward();
        Assert.Equal(torch.bfloat16, weight.grad!.dtype);
    }

    [Fact]
    public void A_part_is_replaced_in_its_place()
    {
        using var model = new Pair();
        using var former = model.Replace(new Part());
        Assert.NotSame(former, model.named_children().First().module);
        Assert.Equal("first", model.named_children().First().name);
        Assert.Throws<ArgumentException>(() => model.Replace(new Part(), "third"));
    }

    [Theory]
    [InlineData("a.b")]
    [InlineData("")]
    [InlineData("scale")]
    public void Names_that_cannot_be_told_apart_are_refused(string name)
    {
        using var model = new Pair();
        var error = Assert.Throws<ArgumentException>(() => model.Register(name));
        Assert.StartsWith($"Pair - registers '{name}' - allowed: a name without a dot", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_parameter_shares_the_elements_it_was_made_from()
    {
        using var data = torch.zeros(2);
        using var parameter = new Parameter(data, requires_grad: false);
        data.add_(1);
        Assert.Equal([1f, 1], parameter.data<float>());
        Assert.False(parameter.requires_grad);
        parameter.requires_grad = true;
        Assert.True(parameter.is_leaf);
        Assert.False(data.requires_grad);
    }

    private sealed class Part : torch.nn.Module
    {
        public Part()
        {
            using var scope = torch.NewDisposeScope();
            Weight = RegisterParameter("weight", new Parameter(torch.ones(2, 2)));
            RegisterBuffer("table", torch.arange(2), persistent: false);
        }

        public Parameter Weight { get; }
    }

    private sealed class Pair : torch.nn.Module
    {
        public Pair()
        {
            using var data = torch.ones(1);
            RegisterParameter("scale", new Parameter(data));
            First = RegisterModule("first", new Part());
            RegisterModule("second", new Part());
        }

        public Part First { get; }

        public torch.nn.Module Replace(Part part, string name = "first") => ReplaceModule(name, part);

        public void Register(string name) => RegisterModule(name, new Part());
    }

    private sealed class Tied : torch.nn.Module
    {
        public Tied()
        {
            using var data = torch.ones(1);
            var parameter = new Parameter(data);
            RegisterParameter("a", parameter);
            RegisterParameter("b", parameter);
        }
    }
}
