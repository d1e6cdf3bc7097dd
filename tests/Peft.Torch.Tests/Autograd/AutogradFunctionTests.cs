namespace Peft.Torch.Tests.Autograd;

public sealed class AutogradFunctionTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(5);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    [Fact]
    public void Gradients_match_finite_differences() => Check.Gradients(
        t => new Product().Apply(t[0], t[1]),
        [Check.Leaf(_random, ScalarType.Float64, 3, 4), Check.Leaf(_random, ScalarType.Float64, 3, 4)]);

    [Fact]
    public void An_input_without_gradient_is_asked_for_none()
    {
        var (x, y) = (Check.Leaf(_random, ScalarType.Float64, 3), Check.Normal(_random, ScalarType.Float64, 3));
        Gradients.backward(new Product().Apply(x, y).sum());
        Check.Near(x.grad!, y, 0);
        Assert.Null(y.grad);
    }

    [Fact]
    public void Without_a_gradient_to_record_nothing_is_saved_and_no_graph_is_made()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        using (torch.no_grad()) Assert.False(new Product().Apply(x, x).requires_grad);
        var y = x.detach();
        Assert.False(new Product().Apply(y, y).requires_grad);
        Assert.True(torch.is_grad_enabled());
    }

    [Fact]
    public void Several_outputs_get_their_gradients_and_null_stands_for_one_unused()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 4);
        var halves = new Halves().ApplyAll(x);
        Gradients.backward(halves[1].sum());
        Check.Near(x.grad!, torch.tensor(new[] { 0.0, 0, 1, 1 }), 0);
    }

    [Fact]
    public void An_exception_in_backward_comes_out_of_backward_as_it_was_thrown()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        for (var i = 0; i < 3; i++)
        {
            var error = Assert.Throws<FormatException>(() => Gradients.backward(new Broken().Apply(x * x).sum()));
            Assert.Equal("no derivative today", error.Message);
            Assert.Null(x.grad);
        }

        Gradients.backward(new Product().Apply(x, x).sum());
        Check.Near(x.grad!, x + x, 1e-15);
    }

    [Fact]
    public void A_backward_of_the_librarys_own_fails_too_when_a_function_does()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        Assert.ThrowsAny<Exception>(() => new Broken().Apply(x * x).sum().backward());
        Assert.Null(x.grad);
    }

    [Fact]
    public void A_wrong_number_of_gradients_is_named()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var error = Assert.Throws<InvalidOperationException>(() => Gradients.backward(new Short().Apply(x, x).sum()));
        Assert.Equal("Short returned 1 gradients for 2 inputs.", error.Message);
    }

    [Fact]
    public void A_graph_is_walked_again_only_where_it_was_retained()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var kept = new Product().Apply(x, x).sum();
        Gradients.backward(kept, retain_graph: true);
        Gradients.backward(kept);
        Check.Near(x.grad!, (x + x) * 2, 1e-15);
        var error = Assert.Throws<InvalidOperationException>(() => Gradients.backward(kept));
        Assert.Contains("Pass retain_graph: true", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_derivative_is_refused()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        Assert.ThrowsAny<Exception>(
            () => torch.autograd.backward([new Product().Apply(x, x).sum()], create_graph: true));
        Assert.Null(x.grad);
    }

    [Fact]
    public void A_saved_tensor_changed_in_place_is_an_error()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var h = x.alias();
        var y = new Product().Apply(h, h).sum();
        using (torch.no_grad()) h.add_(torch.ones(3, ScalarType.Float64));
        var error = Assert.ThrowsAny<Exception>(() => Gradients.backward(y));
        Assert.Contains("modified by an inplace operation", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_output_may_be_saved()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var before = LiveTensors.Settled();
        using (torch.NewDisposeScope()) Gradients.backward(new Exponential().Apply(x).sum());
        Check.Near(x.grad!, x.exp(), 1e-14);
    }

    [Fact]
    public void An_output_that_is_computed_again_is_so_once_a_backward_for_all_who_took_it()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var square = new Square();
        var y = square.Apply(x);
        var sum = (new Product().Apply(y, y) + new Product().Apply(y, torch.ones_like(y))).sum(); // x^4 + x^2
        for (var i = 1; i <= 2; i++)
        {
            x.grad = null;
            Gradients.backward(sum, retain_graph: i == 1);
            Assert.Equal(i, square.Repeats);
            Check.Near(x.grad!, 4 * x * x * x + 2 * x, 1e-14);
        }

        Assert.Throws<InvalidOperationException>(() => Gradients.backward(sum));
    }

    [Fact]
    public void An_output_changed_in_place_before_it_is_taken_is_kept()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var square = new Square();
        var y = square.Apply(x).add_(1);
        Gradients.backward(new Product().Apply(y, y).sum()); // (x^2 + 1)^2
        Check.Near(x.grad!, 4 * x * (x * x + 1), 1e-14);
        Assert.Equal(0, square.Repeats);
    }

    [Fact]
    public void An_output_computed_again_leaves_no_tensor_where_the_backward_ends_before_its_maker()
    {
        var (x, w) = (Check.Leaf(_random, ScalarType.Float64, 3), Check.Leaf(_random, ScalarType.Float64, 3));
        var before = TorchRuntime.LiveTensorCount;
        using (torch.NewDisposeScope())
        {
            var square = new Square();
            Check.Near(Gradients.grad([new Product().Apply(square.Apply(x), w).sum()], [w])[0], x * x, 1e-14);
            Assert.Equal(1, square.Repeats);
        }

        Assert.Equal(before, TorchRuntime.LiveTensorCount);
    }

    [Fact]
    public void An_object_is_one_call()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        var product = new Product();
        product.Apply(x, x);
        Assert.Throws<InvalidOperationException>(() => product.Apply(x, x));
    }

    [Fact]
    public void An_exception_in_forward_passes_through_and_records_on()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        Assert.Throws<FormatException>(() => new BrokenForward().Apply(x));
        Assert.True(torch.is_grad_enabled());
    }

    [Fact]
    public void Backward_within_a_backward_works_as_checkpointing_needs_it()
    {
        var x = Check.Leaf(_random, ScalarType.Float64, 3);
        Gradients.backward(new Again().Apply(new Product().Apply(x, x)).sum());
        Check.Near(x.grad!, x * x * x * torch.tensor(4.0), 1e-14);
    }

    [Fact]
    public void Gradients_of_leaves_and_others_are_returned_and_left_in_no_grad()
    {
        var (x, unused) = (Check.Leaf(_random, ScalarType.Float64, 3), Check.Leaf(_random, ScalarType.Float64, 3));
        x.grad = torch.ones(3, ScalarType.Float64);
        var h = x * x;
        var found = Gradients.grad([new Product().Apply(h, x).sum()], [x, h]);
        Check.Near(found[0], x * x * torch.tensor(3.0), 1e-15);
        Check.Near(found[1], x, 1e-15);
        Check.Near(x.grad!, torch.ones(3, ScalarType.Float64), 0);
        Assert.Throws<FormatException>(() => Gradients.grad([new Broken().Apply(x * x).sum()], [x]));
        var error = Assert.Throws<ArgumentException>(() => Gradients.grad([(x * x).sum()], [x, unused]));
        Assert.Equal("the outputs do not depend on input 1", error.Message);
        Check.Near(x.grad!, torch.ones(3, ScalarType.Float64), 0);
    }

    [Fact]
    public void Threads_have_passes_and_failures_of_their_own()
    {
        Parallel.For(0, 16, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i =>
        {
            using var scope = torch.NewDisposeScope();
            var x = torch.full([3], (double)i).requires_grad_();
            if (i % 3 == 0) Assert.Throws<FormatException>(() => Gradients.backward(new Broken().Apply(x * x).sum()));
            for (var step = 0; step < 50; step++)
            {
                Gradients.backward(new Product().Apply(new Product().Apply(x, x), x).sum());
                Check.Near(x.grad!, torch.full([3], 3.0 * i * i), 1e-15);
                x.grad = null;
            }
        });
    }

    [Fact]
    public void Steps_leave_no_tensors_and_no_memory()
    {
        var x = Check.Leaf(_random, ScalarType.Float32, 512, 512);
        Step(x, 20);
        var (tensors, bytes) = (LiveTensors.Settled(), Environment.WorkingSet);
        Step(x, 400);
        Assert.Equal(tensors, LiveTensors.Settled());
        Assert.InRange(Environment.WorkingSet - bytes, long.MinValue, 64 << 20);     // 400 steps make 2 GB of gradients

        static void Step(Tensor x, int count)
        {
            for (var i = 0; i < count; i++)
            {
                using var scope = torch.NewDisposeScope();
                var h = new Product().Apply(x, x);
                Gradients.backward(new Product().Apply(h, x).sum());
                x.grad = null;
            }
        }
    }

    [Fact]
    public void A_graph_left_to_the_collector_is_freed()
    {
        var x = torch.ones(1000, requires_grad: true).DetachFromDisposeScope();
        var before = LiveTensors.Settled();
        Leave(x);
        Assert.Equal(before, LiveTensors.Settled());
        x.Dispose();

        static void Leave(Tensor x)
        {
            for (var i = 0; i < 10; i++) new Product().Apply(x, x).DetachFromDisposeScope();
        }
    }

    private sealed class Halves : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs) =>
            [inputs[0]!.narrow(0, 0, 2).clone(), inputs[0]!.narrow(0, 2, 2).clone()];

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
            [torch.cat([
                gradients[0] ?? torch.zeros(2, ScalarType.Float64),
                gradients[1] ?? torch.zeros(2, ScalarType.Float64)])];
    }

    private sealed class Exponential : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs)
        {
            var y = inputs[0]!.exp();
            Save(y);
            return [y];
        }

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) => [gradients[0]! * saved[0]!];
    }

    private sealed class Again : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs)
        {
            Save(inputs);
            return [inputs[0]! * inputs[0]!];
        }

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
        {
            using var enabled = torch.enable_grad();
            var leaf = saved[0]!.detach().requires_grad_();
            Gradients.backward(new Product().Apply(leaf, leaf), gradients[0]);
            return [leaf.grad];
        }
    }

    private sealed class Broken : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs) => [inputs[0]!.clone()];

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
            throw new FormatException("no derivative today");
    }

    private sealed class BrokenForward : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs) => throw new FormatException("no value today");

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) => [];
    }

    private sealed class Short : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs) => [inputs[0]!.clone()];

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) => gradients;
    }
}

/// <summary>x y.</summary>
internal sealed class Product : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        Save(inputs);
        return [inputs[0]! * inputs[1]!];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
        [Needs(0) ? gradients[0]! * saved[1]! : null, Needs(1) ? gradients[0]! * saved[0]! : null];
}

/// <summary>x², computed again where it is needed; it counts how often.</summary>
internal sealed class Square : AutogradFunction
{
    public int Repeats { get; private set; }

    protected override bool IsRepeatable => true;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        Save(inputs);
        return [inputs[0]! * inputs[0]!];
    }

    protected override Tensor Repeat(Tensor?[] saved)
    {
        Repeats++;
        return saved[0]! * saved[0]!;
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
        [gradients[0]! * 2 * saved[0]!];
}
