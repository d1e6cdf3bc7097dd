namespace Peft.Torch.Tests.Optim;

public sealed class OptimizerTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void The_first_step_of_AdamW_agrees_with_the_sum_done_by_hand()
    {
        // p 1, g 0.5, lr 0.1, wd 0.01: 1 - 0.001 - 0.1 * (0.05 / 0.1) / (sqrt(0.00025 / 0.001) + 1e-8)
        using var p = Parameter([1.0]);
        using var optimizer = new AdamW([("p", p)], lr: 0.1);
        p.grad = torch.tensor([0.5]);
        optimizer.step();
        Assert.Equal(1 - 0.001 - (0.1 * 0.5 / (0.5 + 1e-8)), p.data<double>().ToArray()[0], 1e-15);
    }

    [Theory]
    [InlineData(ScalarType.Float64, 1e-14)]
    [InlineData(ScalarType.Float32, 2e-6)]
    [InlineData(ScalarType.BFloat16, 0.05)]
    public void AdamW_follows_its_formula_over_many_steps(ScalarType dtype, double tolerance)
    {
        const double Lr = 0.05, Beta1 = 0.9, Beta2 = 0.95, Eps = 1e-6, Decay = 0.1;
        double[] start = [0.5, -1.25, 2.0];
        using var p = torch.tensor(start, dtype: dtype).ToParameter();
        using var optimizer = new AdamW([("p", p)], Lr, Beta1, Beta2, Eps, Decay);
        double[] x = [.. start], m = new double[3], v = new double[3];
        for (var t = 1; t <= 10; t++)
        {
            var g = start.Select((s, i) => Math.Sin(t + i) * s).ToArray();
            p.grad = torch.tensor(g, dtype: dtype);
            optimizer.step();
            for (var i = 0; i < 3; i++)
            {
                x[i] -= Lr * Decay * x[i];
                m[i] = (Beta1 * m[i]) + ((1 - Beta1) * g[i]);
                v[i] = (Beta2 * v[i]) + ((1 - Beta2) * g[i] * g[i]);
                x[i] -= Lr * (m[i] / (1 - Math.Pow(Beta1, t))) / (Math.Sqrt(v[i] / (1 - Math.Pow(Beta2, t))) + Eps);
            }
        }

        var found = p.to(torch.float64).data<double>().ToArray();
        for (var i = 0; i < 3; i++) Assert.Equal(x[i], found[i], tolerance);
    }

    [Theory]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16)]
    public void Steps_too_small_for_16_bits_add_up(ScalarType dtype)
    {
        // A step of 1e-5 is far below the last digit of 1 in either type.
        using var p = torch.tensor([1.0], dtype: dtype).ToParameter();
        using var same = torch.tensor([1f]).ToParameter();
        using var reduced = new AdamW([("p", p)], 1e-5, weight_decay: 0);
        using var whole = new AdamW([("p", same)], 1e-5, weight_decay: 0);
        for (var i = 0; i < 2000; i++)
        {
            p.grad = torch.tensor([0.25], dtype: dtype);
            same.grad = torch.tensor([0.25f]);
            reduced.step();
            whole.step();
        }

        Assert.Equal(0.98, same.ToDouble(), 1e-3);
        Assert.Equal(same.to(dtype).ToDouble(), p.ToDouble());
        Assert.Equal(same.ToDouble(), reduced.StateDict()["master.p"].ToDouble());

        // A run that goes on from the state takes the same steps.
        using var again = torch.tensor([1.0], dtype: dtype).ToParameter();
        using var resumed = new AdamW([("p", again)], 1e-5, weight_decay: 0);
        resumed.LoadStateDict(reduced.StateDict());
        foreach (var (parameter, optimizer) in new[] { (p, reduced), (again, resumed) })
        {
            parameter.grad = torch.tensor([0.25], dtype: dtype);
            optimizer.step();
        }

        Assert.Equal(p.ToDouble(), again.ToDouble());
        Assert.Equal(reduced.StateDict()["master.p"].ToDouble(), resumed.StateDict()["master.p"].ToDouble());
    }

    [Fact]
    public void A_parameter_in_another_layout_takes_the_same_steps()
    {
        using var generator = new Generator(1);
        var start = torch.randn([3, 4], generator: generator);
        var gradient = torch.randn([3, 4], generator: generator);
        using var rows = start.clone().ToParameter();
        using var columns = start.t().contiguous().t().ToParameter();
        using var optimizer = new AdamW([("rows", rows), ("columns", columns)], 0.1);
        for (var i = 0; i < 3; i++)
        {
            rows.grad = gradient;
            columns.grad = gradient.clone();
            optimizer.step();
        }

        Assert.True(rows.allclose(columns, atol: 1e-6));
    }

    [Fact]
    public void Without_a_gradient_nothing_moves_or_counts()
    {
        using var moved = Parameter([1.0]);
        using var still = Parameter([1.0]);
        using var optimizer = new AdamW([("moved", moved), ("still", still)], 0.1, weight_decay: 0.5);
        moved.grad = torch.tensor([1.0]);
        optimizer.step();
        Assert.Equal([1.0], still.data<double>().ToArray());
        Assert.Equal(1, optimizer.StepCounts["moved"]);
        Assert.Equal(0, optimizer.StepCounts["still"]);
        optimizer.zero_grad();
        Assert.Null(moved.grad);
    }

    [Fact]
    public void Groups_have_a_learning_rate_and_a_decay_of_their_own()
    {
        using var a = Parameter([1.0]);
        using var b = Parameter([1.0]);
        using var optimizer = new SGD(
            [new ParamGroup([("a", a)], LrMultiplier: 2), new ParamGroup([("b", b)], WeightDecay: 0.5)],
            lr: 0.1);
        a.grad = torch.tensor([1.0]);
        b.grad = torch.tensor([1.0]);
        optimizer.step();
        Assert.Equal(0.8, a.data<double>().ToArray()[0], 1e-15);
        Assert.Equal(1 - (0.1 * 1.5), b.data<double>().ToArray()[0], 1e-15);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SGD_with_momentum_follows_its_formula(bool nesterov)
    {
        using var p = Parameter([1.0]);
        using var optimizer = new SGD([("p", p)], lr: 0.1, momentum: 0.9, nesterov: nesterov);
        double x = 1, buffer = 0;
        for (var t = 0; t < 4; t++)
        {
            p.grad = torch.tensor([t + 1.0]);
            optimizer.step();
            buffer = t == 0 ? 1 : (0.9 * buffer) + t + 1;
            x -= 0.1 * (nesterov ? t + 1 + (0.9 * buffer) : buffer);
        }

        Assert.Equal(x, p.data<double>().ToArray()[0], 1e-14);
    }

    [Fact]
    public void A_state_saved_and_loaded_continues_as_if_never_interrupted()
    {
        using var whole = Parameter([1.0, -2]);
        using var optimizer = new AdamW([("p", whole)], 0.1);
        Steps(whole, optimizer, 0, 3);
        using var resumed = Parameter(whole.data<double>().ToArray());
        using var other = new AdamW([("p", resumed)], 0.1);
        var saved = optimizer.StateDict().ToDictionary(p => p.Key, p => p.Value.clone());
        Assert.Equal(["exp_avg.p", "exp_avg_sq.p", "step.p"], saved.Keys.Order(StringComparer.Ordinal));
        other.LoadStateDict(saved);
        Assert.Equal(3, other.StepCounts["p"]);
        Steps(whole, optimizer, 3, 6);
        Steps(resumed, other, 3, 6);
        Assert.Equal(whole.data<double>().ToArray(), resumed.data<double>().ToArray());
    }

    [Fact]
    public void A_state_of_other_parameters_is_refused_and_changes_nothing()
    {
        using var p = Parameter([1.0, 2]);
        using var optimizer = new AdamW([("p", p)], 0.1);
        Steps(p, optimizer, 0, 1);
        var state = optimizer.StateDict().ToDictionary(s => s.Key, s => s.Value.clone());
        var missing = state.Where(s => s.Key != "exp_avg.p").ToDictionary();
        Assert.Contains("'exp_avg.p' is missing", Refused(missing), StringComparison.Ordinal);
        var wrong = new Dictionary<string, Tensor>(state) { ["exp_avg_sq.p"] = torch.ones(3) };
        Assert.Contains("'exp_avg_sq.p' has shape [3]; expected [2]", Refused(wrong), StringComparison.Ordinal);
        var unknown = new Dictionary<string, Tensor>(state) { ["exp_avg.q"] = torch.ones(3) };
        Assert.Contains("'exp_avg.q' belongs to no parameter", Refused(unknown), StringComparison.Ordinal);
        Assert.True(optimizer.StateDict()["exp_avg.p"].SameAs(state["exp_avg.p"]));

        string Refused(Dictionary<string, Tensor> given) =>
            Assert.Throws<ArgumentException>(() => optimizer.LoadStateDict(given)).Message;
    }

    [Fact]
    public void State_is_no_member_of_a_scope_and_dies_with_the_optimizer()
    {
        using var p = Parameter([1.0]);
        var before = LiveTensors.Settled();
        var optimizer = new AdamW([("p", p)], 0.1);
        using (torch.NewDisposeScope()) Steps(p, optimizer, 0, 2);
        using (torch.NewDisposeScope()) Steps(p, optimizer, 2, 4);
        Assert.Equal(4, optimizer.StepCounts["p"]);
        optimizer.Dispose();
        LiveTensors.AssertNoMoreThan(before);
    }

    [Fact]
    public void Settings_out_of_range_and_names_given_twice_are_refused()
    {
        using var p = Parameter([1.0]);
        Assert.Throws<ArgumentOutOfRangeException>(() => new AdamW([("p", p)], lr: -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new AdamW([("p", p)], beta2: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new AdamW([("p", p)], lr: double.NaN));
        var error = Assert.Throws<ArgumentException>(() => new AdamW([("p", p), ("p", p)]));
        Assert.Equal("optimizer: parameter 'p' is given twice.", error.Message);
    }

    [Fact]
    public void Gradients_are_clipped_by_one_norm_over_all()
    {
        using var a = Parameter([0.0]);
        using var b = Parameter([0.0]);
        using var none = Parameter([0.0]);
        a.grad = torch.tensor([3.0]);
        b.grad = torch.tensor([4.0]);
        Assert.Equal(5, Gradients.clip_grad_norm_([a, b, none], 10), 1e-12);
        Assert.Equal([3.0], a.grad!.data<double>().ToArray());
        Assert.Equal(5, Gradients.clip_grad_norm_([a, b, none], 1), 1e-12);
        Assert.Equal(3 / (5 + 1e-6), a.grad!.data<double>().ToArray()[0], 1e-12);
        Assert.Equal(4 / (5 + 1e-6), b.grad!.data<double>().ToArray()[0], 1e-12);
        Assert.Equal(0, Gradients.clip_grad_norm_([none], 1));
        a.grad = torch.tensor([double.NaN]);
        Assert.True(double.IsNaN(Gradients.clip_grad_norm_([a, b], 1)));
    }

    private static Parameter Parameter(double[] values) => torch.tensor(values).ToParameter();

    private static void Steps(Parameter p, Optimizer optimizer, int from, int to)
    {
        for (var t = from; t < to; t++)
        {
            p.grad = torch.cos(p.detach() * (t + 1));
            optimizer.step();
        }
    }
}
