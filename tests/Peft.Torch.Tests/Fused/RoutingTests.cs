namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class RoutingTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(11);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    private Tensor[] Inputs(ScalarType dtype, int experts, int width) =>
        [Check.Leaf(_random, dtype, 3, 67, width), Check.Leaf(_random, ScalarType.Float32, experts, width)];

    private static Tensor Wide(Tensor tensor) => tensor.to(ScalarType.Float64);

    private static Tensor Scores(Tensor x, Tensor weight) => torch.einsum("nd,ed->ne", x.reshape(201, -1), weight);

    [Theory]
    [InlineData(ScalarType.Float32, 8, 64, 3e-6)]
    [InlineData(ScalarType.Float32, 5, 70, 3e-6)]
    [InlineData(ScalarType.BFloat16, 8, 64, 0.004)]
    [InlineData(ScalarType.BFloat16, 19, 70, 0.004)]
    public void Scores_and_their_gradients_are_those_of_the_product(
        ScalarType dtype, int experts, int width, double tolerance) => Check.WithAndWithoutKernels(() =>
        Check.Same(t => F.router_scores(t[0], t[1]), t => Scores(Wide(t[0]), Wide(t[1])),
            Inputs(dtype, experts, width), tolerance, sameType: false));

    [Fact]
    public void Scores_of_reduced_inputs_are_exact_to_float32()
    {
        var (x, weight) = (Check.Normal(_random, ScalarType.BFloat16, 40, 96), Check.Normal(
            _random, ScalarType.Float32, 6, 96));
        var scores = F.router_scores(x, weight);
        Assert.Equal(ScalarType.Float32, scores.dtype);
        Check.Near(scores, torch.einsum("nd,ed->ne", Wide(x), Wide(weight)), 1e-6);
    }

    [Theory]
    [InlineData(ScalarType.Float32, 8, 64, 1e-5)]
    [InlineData(ScalarType.Float32, 21, 70, 1e-5)]
    [InlineData(ScalarType.BFloat16, 5, 64, 0.004)]
    public void Scores_and_their_softmax_are_those_of_the_product_with_gradients_through_one_or_both(
        ScalarType dtype, int experts, int width, double tolerance) => Check.WithAndWithoutKernels(() =>
    {
        foreach (var (ofLogits, ofProbabilities) in new[] { (0.1, 0.0), (0, 1), (0.1, 2) })
        {
            Check.Same(t => One(F.router_softmax(t[0], t[1])), t => One(Steps(Scores(Wide(t[0]), Wide(t[1])))),
                Inputs(dtype, experts, width), tolerance, sameType: false);

            Tensor One((Tensor Logits, Tensor Probabilities) route) => ofLogits == 0
                ? Wide(route.Probabilities).square() * ofProbabilities
                : Wide(route.Logits).sin() * ofLogits
                    + (ofProbabilities == 0 ? 0 : Wide(route.Probabilities).square() * ofProbabilities);
        }

        static (Tensor, Tensor) Steps(Tensor scores) => (scores, scores.softmax(-1));
    });

    [Theory]
    [InlineData(ScalarType.Float32, 8, 2, true, 5e-6)]
    [InlineData(ScalarType.Float32, 8, 2, false, 5e-6)]
    [InlineData(ScalarType.Float32, 21, 3, true, 5e-6)]
    [InlineData(ScalarType.Float32, 4, 4, true, 5e-6)]
    [InlineData(ScalarType.BFloat16, 8, 2, true, 0.004)]
    public void The_best_of_a_softmax_equal_its_steps_with_gradients_through_every_output(
        ScalarType dtype, int experts, int k, bool normalize, double tolerance) => Check.WithAndWithoutKernels(() =>
    {
        Check.Same(t => One(t, F.topk_softmax(t[0], t[1], new(k, normalize))), t => One(t, Steps(t)),
            Inputs(dtype, experts, 48), tolerance, sameType: false);

        // All outputs, each with a weight of its own, in one number.
        static Tensor One(Tensor[] t, (Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits) route)
        {
            var places = torch.arange(1, route.Gates.size(1) + 1, ScalarType.Float64);
            return Wide(route.Gates) * places + Wide(route.Probabilities).square() * places.sqrt()
                + Wide(route.Logits).sin() * 0.1;
        }

        (Tensor, Tensor, Tensor, Tensor) Steps(Tensor[] t)
        {
            var logits = Scores(Wide(t[0]), Wide(t[1]));
            var p = logits.softmax(-1);
            var mask = torch.zeros_like(p).scatter(
                -1, p.detach().topk(k, -1).indexes, torch.ones([p.size(0), k], ScalarType.Float64));
            var kept = p * mask;
            return (normalize ? kept / kept.sum(-1, keepdim: true) : kept, mask, p, logits);
        }
    });

    [Fact]
    public void Gradients_through_one_output_alone_are_right()
    {
        var inputs = Inputs(ScalarType.Float32, 6, 32);
        Check.Same(t => F.topk_softmax(t[0], t[1], new(2, true)).Logits,
            t => Scores(Wide(t[0]), Wide(t[1])), inputs, 3e-6, sameType: false);
        Check.Same(t => F.topk_softmax(t[0], t[1], new(2, true)).Probabilities,
            t => Scores(Wide(t[0]), Wide(t[1])).softmax(-1), inputs, 3e-6, sameType: false);
    }

    [Theory]
    [InlineData(ScalarType.Float32, RouterScore.Product, 2.5, true, 64, 5e-6)]
    [InlineData(ScalarType.Float32, RouterScore.Magnitude, 1, true, 70, 5e-6)]
    [InlineData(ScalarType.Float32, RouterScore.Magnitude, 0.5, false, 64, 5e-6)]
    [InlineData(ScalarType.Float32, RouterScore.Standardized, 1, false, 64, 2e-5)]
    [InlineData(ScalarType.Float32, RouterScore.Standardized, 0.7, true, 70, 2e-5)]
    [InlineData(ScalarType.BFloat16, RouterScore.Standardized, 1, true, 70, 0.004)]
    [InlineData(ScalarType.BFloat16, RouterScore.Magnitude, 1, true, 64, 0.004)]
    public void Other_comparisons_and_absent_experts_equal_their_steps_with_gradients_through_every_output(
        ScalarType dtype, RouterScore comparison, double temperature, bool some, int width, double tolerance) =>
        Check.WithAndWithoutKernels(() =>
    {
        var rule = new TopKRule(3, true, comparison, temperature, 1e-3);
        var present = some ? torch.tensor(new[] { true, false, true, true, false, true }) : null;
        var there = present ?? torch.ones([6], ScalarType.Bool);
        // Rows off zero: a mean that is left out would show.
        var inputs = Inputs(dtype, 6, width);
        inputs[0] = (inputs[0].detach() + 0.5).requires_grad_();
        Check.Same(t => One(F.topk_softmax(t[0], t[1], rule, present)), t => One(Steps(t)), inputs, tolerance,
            sameType: false);
        var route = F.topk_softmax(inputs[0], inputs[1], rule, present);
        Assert.True(route.Selected.logical_and(there.logical_not()).any().logical_not().ToBoolean());
        Assert.Equal(3 * 201, route.Selected.to(ScalarType.Int64).sum().ToInt64());

        Tensor One((Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits) route)
        {
            var places = torch.arange(1, 7, ScalarType.Float64);
            return Wide(route.Gates) * places + Wide(route.Probabilities).square() * places.sqrt()
                + Wide(route.Logits).masked_fill(there.logical_not(), 0).sin() * 0.1;
        }

        (Tensor, Tensor, Tensor, Tensor) Steps(Tensor[] t)
        {
            var x = Wide(t[0]);
            if (comparison == RouterScore.Standardized)
                x = torch.nn.functional.layer_norm(x, [width], eps: 1e-5);
            var scores = Scores(x, Wide(t[1]));
            scores = (comparison == RouterScore.Magnitude ? scores.abs() : scores) / temperature;
            var logits = scores.masked_fill(there.logical_not(), double.NegativeInfinity);
            var p = logits.softmax(-1);
            var mask = torch.zeros_like(p).scatter(
                -1, p.detach().topk(3, -1).indexes, torch.ones([p.size(0), 3], ScalarType.Float64));
            var kept = p * mask;
            return (kept / (kept.sum(-1, keepdim: true) + 1e-3), mask, p, logits);
        }
    });

    [Theory]
    [InlineData(RouterScore.Product)]
    [InlineData(RouterScore.Magnitude)]
    [InlineData(RouterScore.Standardized)]
    public void What_is_known_of_the_scores_joins_them_before_the_temperature_and_gets_no_gradient(
        RouterScore comparison) => Check.WithAndWithoutKernels(() =>
    {
        var rule = new TopKRule(2, true, comparison, 0.7, 1e-3);
        var known = Check.Leaf(_random, ScalarType.Float32, 201, 6);
        var present = torch.tensor(new[] { true, false, true, true, false, true });
        Check.Same(t => Wide(F.topk_softmax(t[0], t[1], rule, present, known).Probabilities),
            t => ((Compared(Wide(t[0]), Wide(t[1])) + Wide(known.detach())) / 0.7)
                .masked_fill(present.logical_not(), double.NegativeInfinity).softmax(-1),
            Inputs(ScalarType.Float32, 6, 70), 2e-5);
        var inputs = Inputs(ScalarType.Float32, 6, 70);
        var route = F.topk_softmax(inputs[0], inputs[1], rule, null, known);
        Check.SameBits(route.Selected, F.top_mask(route.Logits, 2));
        Peft.Torch.Autograd.Gradients.backward(route.Gates.square().sum());
        Assert.Null(known.grad);

        Tensor Compared(Tensor x, Tensor weight) => comparison switch
        {
            RouterScore.Magnitude => Scores(x, weight).abs(),
            RouterScore.Standardized => Scores(torch.nn.functional.layer_norm(x, [70], eps: 1e-5), weight),
            _ => Scores(x, weight),
        };
    });

    [Fact]
    public void Known_scores_of_another_shape_are_refused()
    {
        var error = Assert.Throws<ArgumentException>(() => F.topk_softmax(
            torch.ones(3, 4), torch.ones(5, 4), new(2, true), null, torch.ones(1, 5)));
        Assert.Equal("known [1, 5] Float32 does not meet x [3, 4] and weight [5, 4]; it is [N, E] float32",
            error.Message);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Kept_gates_match_their_composed_form_and_finite_differences(bool normalize)
    {
        var mask = torch.tensor(new[] { true, false, true, true, false, true }, [2, 3]);
        Check.Gradients(
            t => F.kept_gates(t[0], mask, normalize),
            [torch.tensor(new[] { 0.2, 0.3, 0.5, 0.6, 0.1, 0.3 }, [2, 3]).detach().requires_grad_()]);
        Check.Same(t => F.kept_gates(t[0], mask, normalize), t => Composed(Wide(t[0])),
            [torch.tensor(new[] { 0.2f, 0.3f, 0.5f, 0.6f, 0.1f, 0.3f }, [2, 3]).detach().requires_grad_()], 1e-6,
            sameType: false);

        Tensor Composed(Tensor p)
        {
            var kept = p * Wide(mask);
            return normalize ? kept / kept.sum(-1, keepdim: true) : kept;
        }
    }

    [Fact]
    public void Of_equals_the_first_is_taken_and_what_is_no_number_before_all() => Check.WithAndWithoutKernels(() =>
    {
        var values = torch.tensor(
            new[] { 1f, 3, 3, 3, 2, 2, 2, 2, 0, float.NaN, 5, float.NegativeInfinity }, [3, 4]);
        Check.SameBits(
            F.top_mask(values, 2),
            torch.tensor(
                new[] { false, true, true, false, true, true, false, false, false, true, true, false }, [3, 4]));
        Assert.True(F.top_mask(values, 4).all().ToBoolean());
    });

    [Theory]
    [InlineData(3)]
    [InlineData(64)]
    [InlineData(65)]
    [InlineData(200)]
    public void The_largest_of_long_rows_are_those_of_a_stable_sort(int k)
    {
        using var random = new Generator(4);
        var values = torch.randn([40, 200], generator: random);
        values.narrow(0, 0, 20).mul_(3).round_().mul_(1 / 3f);                    // many equal, zeros of both signs
        values.narrow(0, 5, 1).fill_(float.NegativeInfinity);
        values.select(1, 150).narrow(0, 10, 20).fill_(float.NaN);
        values.select(1, 151).fill_(float.PositiveInfinity);
        var order = values.sort(1, descending: true, stable: true).Indices.narrow(1, 0, k);
        var expected = torch.zeros([40, 200], torch.@bool).scatter_(1, order, torch.ones([40, k], torch.@bool));
        Check.WithAndWithoutKernels(() => Check.SameBits(F.top_mask(values, k), expected));
    }

    [Theory]
    [InlineData(9)]
    [InlineData(64)]
    [InlineData(70)]
    public void The_largest_and_the_nucleus_are_those_of_a_stable_sort(int experts)
    {
        var values = (Check.Normal(_random, ScalarType.Float32, 3000, experts) * 2).round();        // with ties
        var p = values.softmax(-1);
        foreach (var k in new[] { 1, 3, 9 })
            Check.SameBits(F.largest(values, k), Composed.largest(values, k).contiguous());
        foreach (var (most, least, crosses) in new[]
            { (0.4, 1, true), (0.75, 2, false), (0.1, 3, true), (1.0, 0, false) })
        {
            var kept = F.nucleus_mask(p, most, least, crosses);
            Check.SameBits(kept, Composed.nucleus_mask(p, most, least, crosses));
            Assert.InRange(kept.to(ScalarType.Float32).sum(-1).min().ToDouble(), least, experts);
        }
    }

    [Theory]
    [InlineData(8, 2)]
    [InlineData(3, 3)]
    [InlineData(19, 4)]
    public void Draws_and_their_probability_are_those_of_the_steps(int experts, int k)
    {
        var (logits, uniform) = (Check.Normal(_random, ScalarType.Float32, 500, experts) * 3,
            torch.rand([500, experts], generator: _random));
        foreach (var noise in new[] { uniform, null })
        {
            var (draws, steps) = (F.ordered_draws(logits, noise, k), Composed.ordered_draws(logits, noise, k));
            Check.SameBits(draws.Order, steps.Order.contiguous());
            Check.SameBits(draws.Chosen, steps.Chosen);
            Check.Near(draws.Probabilities, steps.Probabilities, 1e-6);
            Check.Near(draws.Log, steps.Log, 2e-6);
            Check.Near(draws.ByLogits, steps.ByLogits, 2e-6);
            Check.Near(F.order_probability(logits, steps.Order).Log, steps.Log, 2e-6);
            // The gradient it says is that of the logarithm.
            var leaf = Wide(logits).detach().requires_grad_();
            var rest = torch.zeros([500, experts], ScalarType.Float64);
            var log = torch.zeros(500, ScalarType.Float64);
            for (var j = 0; j < k; j++)
            {
                var drawn = draws.Order.narrow(1, j, 1);
                log = log + ((leaf + rest).gather(1, drawn) - (leaf + rest).logsumexp(-1, keepdim: true)).squeeze(1);
                rest = rest.scatter(
                    1, drawn, torch.full([500, 1], double.NegativeInfinity, ScalarType.Float64));
            }

            Check.Near(draws.Log, log, 2e-6);
            Check.Near(draws.ByLogits, Peft.Torch.Autograd.Gradients.grad([log.sum()], [leaf])[0], 2e-6);
        }
    }

    [Fact]
    public void An_order_beyond_the_experts_is_refused()
    {
        var error = Assert.Throws<ArgumentException>(() => F.order_probability(
            torch.ones(2, 3), torch.tensor(new long[] { 0, 1, 2, 3 }, [2, 2])));
        Assert.Equal("an order [2, 2] names rows beyond logits [2, 3]", error.Message);
    }

    [Theory]
    [InlineData(ScalarType.Float32, 300, 1e-6)]
    [InlineData(ScalarType.BFloat16, 300, 1e-6)]
    [InlineData(ScalarType.BFloat16, 70, 1e-6)]
    public void Sums_of_each_sequence_are_those_of_the_product(ScalarType dtype, int width, double tolerance) =>
        Check.WithAndWithoutKernels(() =>
    {
        var (x, slopes) = (Check.Normal(_random, dtype, 3, 67, width), Check.Normal(
            _random, ScalarType.Float32, 201, 5));
        Check.Near(F.router_sums(slopes, x), torch.einsum("ble,bld->bed", Wide(slopes).reshape(3, 67, 5), Wide(x)),
            tolerance);
    });

    [Fact]
    public void What_is_no_number_stays_none()
    {
        var x = torch.full([2, 16], float.NaN, ScalarType.Float32);
        var route = F.topk_softmax(x, torch.ones(4, 16), new(2, true));
        Assert.True(route.Gates.isnan().any().ToBoolean());
        Assert.True(route.Probabilities.isnan().all().ToBoolean());
    }

    [Fact]
    public void No_tensor_stays_behind()
    {
        var inputs = Inputs(ScalarType.BFloat16, 8, 64);
        Step();
        var before = TorchRuntime.LiveTensorCount;
        for (var i = 0; i < 3; i++)
            Step();
        Assert.Equal(before, TorchRuntime.LiveTensorCount);

        void Step()
        {
            using var scope = torch.NewDisposeScope();
            var route = F.topk_softmax(inputs[0], inputs[1], new(2, true));
            var loss = (F.kept_gates(route.Probabilities, route.Selected, true) + route.Gates).square().sum()
                + F.router_scores(inputs[0], inputs[1]).sum();
            Peft.Torch.Autograd.Gradients.grad([loss], inputs);
        }
    }

    [Fact]
    public void Shapes_and_types_that_do_not_meet_are_named()
    {
        var error = Assert.Throws<ArgumentException>(() => F.router_scores(torch.ones(2, 8), torch.ones(3, 7)));
        Assert.Equal("x [2, 8] does not meet weight [3, 7] Float32; x is [..., D] and weight [E, D] float32",
            error.Message);
    }
}
