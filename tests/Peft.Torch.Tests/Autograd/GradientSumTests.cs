namespace Peft.Torch.Tests.Autograd;

/// <summary>Gradients that functions add up where they are made, instead of the engine.</summary>
public sealed class GradientSumTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(5);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    [Fact]
    public void Functions_that_say_so_add_up_the_gradient_of_what_is_computed_again_and_its_maker_gets_all_of_it()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var (first, second) = (new Adding(), new Adding());
        var y = new Square().Apply(x);
        var sum = (first.Apply(y, y) + second.Apply(y, y) + 5 * y + new Product().Apply(y, y)).sum(); // y^2 each
        for (var i = 0; i < 2; i++)
        {
            x.grad = null;
            Gradients.backward(sum, retain_graph: i == 0);
            Check.Near(x.grad!, (6 * x * x + 5) * 2 * x, 1e-14);
        }

        Assert.Equal((2, 0), (first.Sums, second.Sums)); // the one that was made last is the first to go back
    }

    [Fact]
    public void What_is_added_up_is_also_what_others_see_of_it()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var y = new Square().Apply(x);
        var (first, second) = (new Adding(), new Adding());
        var found = Gradients.grad([(first.Apply(y, y) + second.Apply(y, y)).sum()], [x, y]);
        Check.Near(found[1], 4 * y, 1e-14);
        Check.Near(found[0], 8 * x * y, 1e-14);
        Assert.Equal((0, 0), (first.Sums, second.Sums));
    }

    [Fact]
    public void Nothing_is_added_to_what_a_pass_that_failed_or_ended_before_left()
    {
        var (x, w) = (Check.Leaf(_random, ScalarType.Float64, 3), Check.Leaf(_random, ScalarType.Float64, 3));
        var before = TorchRuntime.LiveTensorCount;
        using (torch.NewDisposeScope())
        {
            var failing = new Failing();
            var y = new Square().Apply(x);
            var sum = (failing.Apply(y) + new Adding().Apply(y, w)).sum();
            Assert.Throws<FormatException>(() => Gradients.backward(sum, retain_graph: true));
            failing.Fails = false;
            Check.Near(Gradients.grad([sum], [w], retain_graph: true)[0], x * x, 1e-14);
            x.grad = null;
            Gradients.backward(sum);
            Check.Near(x.grad!, 2 * x * (1 + w), 1e-14);
            w.grad = x.grad = null;
        }

        Assert.Equal(before, TorchRuntime.LiveTensorCount);
    }

    [Fact]
    public void What_was_changed_in_place_gets_its_gradient_from_the_engine()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var y = new Square().Apply(x);
        var before = new Adding().Apply(y, torch.ones_like(y));
        var after = new Adding().Apply(y.mul_(3), torch.ones_like(y));
        Gradients.backward((before + after).sum());
        Check.Near(x.grad!, 8 * x, 1e-14);
    }

    [Fact]
    public void The_gradient_of_a_leaf_is_left_in_its_grad_beside_what_the_engine_leaves_there()
    {
        var (x, w) = (Check.Leaf(_random, ScalarType.Float64, 3), Check.Leaf(_random, ScalarType.Float64, 3));
        var sum = (new Leaving().Apply(x, w) + new Leaving().Apply(x * 2, w * 3) + (x * w)).sum(); // 8 x w
        for (var i = 1; i <= 2; i++)
        {
            Gradients.backward(sum, retain_graph: true);
            Check.Near(x.grad!, 8 * i * w, 1e-14);
            Check.Near(w.grad!, 8 * i * x, 1e-14);
        }

        var before = w.grad!.clone();
        Check.Near(Gradients.grad([sum], [w])[0], 8 * x, 1e-14);
        Check.SameBits(w.grad!, before);
    }

    private sealed class Adding : AutogradFunction
    {
        public int Sums { get; private set; }

        protected override Tensor[] Forward(Tensor?[] inputs)
        {
            Save(inputs);
            return [inputs[0]! * inputs[1]!];
        }

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
            [With(0, gradients[0]! * saved[1]!), With(1, gradients[0]! * saved[0]!)];

        private Tensor? With(int input, Tensor own)
        {
            if (!Needs(input)) return null;
            var sum = SumSoFar(input);
            Sums += sum is null ? 0 : 1;
            return sum?.add_(own) ?? own;
        }
    }

    private sealed class Leaving : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs)
        {
            Save(inputs);
            return [inputs[0]! * inputs[1]!];
        }

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
            [Leave(saved[0]!, gradients[0]! * saved[1]!), Leave(saved[1]!, gradients[0]! * saved[0]!)];
    }

    private sealed class Failing : AutogradFunction
    {
        public bool Fails { get; set; } = true;

        protected override Tensor[] Forward(Tensor?[] inputs) => [inputs[0]!.clone()];

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
            Fails ? throw new FormatException("no derivative today") : [gradients[0]!.clone()];
    }
}
