namespace Peft.Torch.Tests.Tensors;

public sealed class OperationTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    public static TheoryData<string, Func<Tensor, Tensor>, double> Unary { get; } = new()
    {
        { "neg", x => -x, -0.7 },
        { "exp", x => x.exp(), Math.Exp(0.7) },
        { "log", x => x.log(), Math.Log(0.7) },
        { "log1p", x => x.log1p(), Math.Log(1.7) },
        { "sqrt", x => x.sqrt(), Math.Sqrt(0.7) },
        { "rsqrt", x => x.rsqrt(), 1 / Math.Sqrt(0.7) },
        { "abs", x => (-x).abs(), 0.7 },
        { "sign", x => (-x).sign(), -1 },
        { "sigmoid", x => x.sigmoid(), 1 / (1 + Math.Exp(-0.7)) },
        { "silu", x => x.silu(), 0.7 / (1 + Math.Exp(-0.7)) },
        { "tanh", x => x.tanh(), Math.Tanh(0.7) },
        { "softplus", x => x.softplus(), Math.Log(1 + Math.Exp(0.7)) },
        { "relu", x => (-x).relu(), 0 },
        { "clamp", x => x.clamp(max: 0.5), 0.5 },
        { "pow", x => x.pow(3), 0.343 },
        { "number - x", x => 1 - x, 0.3 },
        { "number / x", x => 1.4 / x, 2 },
        { "x / number", x => x / 7, 0.1 },
        { "floor", x => x.floor(), 0 },
        { "erfinv of erf", x => x.erf().erfinv(), 0.7 },
        { "cos", x => x.cos(), Math.Cos(0.7) },
    };

    [Theory]
    [MemberData(nameof(Unary))]
    public void Element_wise_functions_agree_with_their_formula(string name, Func<Tensor, Tensor> function, double expected)
    {
        Assert.Equal(expected, function(torch.tensor(0.7)).item<double>(), 1e-12);
        Assert.NotEmpty(name);
    }

    [Fact]
    public void A_whole_number_keeps_integers_integers()
    {
        var ids = torch.arange(4);
        Assert.Equal([1L, 2, 3, 4], (ids + 1).data<long>());
        Assert.Equal([0L, 2, 4, 6], (ids * 2).data<long>());
        Assert.Equal([0L, 0, 1, 1], ids.floor_divide(2).data<long>());
        Assert.Equal(torch.float32, (ids * 0.5).dtype);
        Assert.Equal(torch.float32, (ids / 2).dtype);
    }

    [Fact]
    public void Places_are_chosen_and_filled()
    {
        var x = torch.arange(12, torch.float32).reshape(3, 4);
        var rows = torch.tensor([2L, 0]);
        Assert.Equal([8f, 9, 10, 11, 0, 1, 2, 3], x.index_select(0, rows).data<float>());
        Assert.Equal([5f, 6], x[1].narrow(0, 1, 2).data<float>());
        Assert.Equal([0f, 2], x[0].slice(0, 0, 4, 2).data<float>());
        Assert.Equal([1f, 4, 10], x.gather(1, torch.tensor([1L, 0, 2], [3, 1])).data<float>());
        Assert.Equal([0f, 5, 0], torch.zeros(3).scatter(0, torch.tensor([1L]), torch.tensor([5f])).data<float>());
        Assert.Equal([0f, 7, 0], torch.zeros(3).scatter(0, torch.tensor([1L]), 7).data<float>());
        Assert.Equal([3f, 0], torch.zeros(2).scatter_add(0, torch.tensor([0L, 0]), torch.tensor([1f, 2])).data<float>());
        Assert.Equal([3f, 0], torch.zeros(2).index_add(0, torch.tensor([0L, 0]), torch.tensor([1f, 2])).data<float>());
        Assert.Equal([0f, 9], torch.zeros(2).index_copy_(0, torch.tensor([1L]), torch.tensor([9f])).data<float>());
        Assert.Equal([9f, 10, 11], x.masked_select(x.gt(8)).data<float>());
        Assert.Equal(3, x.masked_fill(x.ge(3), -1).clamp(min: 0).sum().item<float>());
        Assert.Equal([0f, 1, 9, 9], torch.where(x[0].lt(2), x[0], torch.tensor(9f)).data<float>());
        Assert.Equal([2L, 3], torch.tensor([0, 0, 1, 1]).nonzero().flatten().data<long>());
        Assert.Equal([1L, 0, 2], torch.tensor([2L, 0, 2]).bincount(minlength: 3).data<long>());
        Assert.Equal([0L, 1, 1, 0], torch.nn.functional.one_hot(torch.tensor([1L, 0]), 2).data<long>());
    }

    [Fact]
    public void Shapes_are_changed_without_losing_elements()
    {
        var x = torch.arange(6).reshape(2, 3);
        Assert.Equal([3, 2], x.t().shape);
        Assert.Equal([1, 3, 2], x.unsqueeze(0).transpose(1, 2).shape);
        Assert.Equal([3, 1, 2], x.unsqueeze(0).permute(2, 0, 1).shape);
        Assert.Equal([2, 3], x.unsqueeze(0).squeeze().shape);
        Assert.Equal([4, 2, 3], x.expand(4, -1, -1).shape);
        Assert.Equal([0L, 0, 1, 1], torch.arange(2).repeat_interleave(2, 0).data<long>());
        Assert.Equal([0L, 1, 1], torch.arange(2).repeat_interleave(torch.tensor([1L, 2]), 0).data<long>());
        Assert.Equal([0L, 1, 0, 1], torch.arange(2).repeat(2).data<long>());
        Assert.Equal([2, 2, 1], torch.arange(5).split(2).Select(p => p.numel()));
        Assert.Equal([1, 4], torch.arange(5).split([1, 4]).Select(p => p.numel()));
        Assert.Equal(3, torch.arange(6).chunk(3).Length);
        Assert.Equal([0L, 1, 0, 1], torch.cat([torch.arange(2), torch.arange(2)]).data<long>());
        Assert.Equal([2, 2], torch.stack([torch.arange(2), torch.arange(2)]).shape);
        Assert.Equal([0L, 1, 2, 0, 4, 5], x.triu().data<long>());
        Assert.Equal([0L, 0, 0, 3, 4, 0], x.tril().data<long>());
        Assert.False(x.t().is_contiguous());
        Assert.True(x.t().contiguous().is_contiguous());
        Assert.Equal([1, 3], x.t().strides);
    }

    [Fact]
    public void Reductions_agree_with_counting_by_hand()
    {
        var x = torch.tensor([1f, 5, 3, 2, 4, 6], [2, 3]);
        Assert.Equal(21, x.sum().item<float>());
        Assert.Equal([9f, 12], x.sum(1).data<float>());
        Assert.Equal([1, 1], x.sum([0, 1], keepdim: true).shape);
        Assert.Equal(3.5f, x.mean().item<float>());
        Assert.Equal([5f, 6], x.amax(-1).data<float>());
        Assert.Equal([1f, 2], x.amin(-1).data<float>());
        Assert.Equal([1L, 2], x.argmax(1).data<long>());
        Assert.Equal(4, x[0].std().item<float>() * x[0].std().item<float>(), 1e-5);
        Assert.Equal(Math.Sqrt(91), x.norm().ToDouble(), 1e-5);
        Assert.Equal([1f, 6, 9], x[0].cumsum(0).data<float>());
        Assert.Equal(Math.Log(Math.Exp(1) + Math.Exp(5) + Math.Exp(3)), x[0].logsumexp(0).ToDouble(), 1e-5);
        var (values, indices) = x.topk(2);
        Assert.Equal([5f, 3, 6, 4], values.data<float>());
        Assert.Equal([1L, 2, 2, 1], indices.data<long>());
        Assert.Equal([1L, 2, 0], x[0].argsort(descending: true).data<long>());
        Assert.Equal([1f, 3, 5], x[0].sort().values.data<float>());
        Assert.Equal(1, x.softmax(1).sum(1)[0].ToDouble(), 1e-6);
        Assert.Equal(torch.float32, torch.ones([2], torch.bfloat16).softmax(0, torch.float32).dtype);
        Assert.True(x.gt(0).all().ToBoolean());
        Assert.False(x.gt(9).any().ToBoolean());
        Assert.False(torch.all_finite([x, torch.tensor([1f, float.NaN])]));
        Assert.True(torch.all_finite([x, torch.full([8], 3e38)]));
        Assert.Equal(5, torch.total_norm([torch.tensor([3f]), torch.tensor([4f])]), 1e-6);
    }

    [Fact]
    public void In_place_changes_return_the_tensor_itself()
    {
        var x = torch.tensor([1f, 4]);
        Assert.Same(x, x.add_(1).mul_(2).sub_(1).div_(3));
        Assert.Equal([1f, 3], x.data<float>());
        Assert.Equal([2.5f, 4.5f], x.addcmul_(torch.tensor([1f, 1]), torch.tensor([3f, 3]), 0.5).data<float>());
        Assert.Equal([1.25f, 2.25f], x.lerp_(torch.zeros(2), 0.5).data<float>());
        Assert.Equal([0f, 0], x.zero_().data<float>());
        Assert.Equal([2f, 2], x.fill_(4).sqrt_().data<float>());
        Assert.Equal([1f, 1], x.copy_(torch.ones([1], torch.int64)).data<float>());
        Assert.Equal([0.5f, 0.5f], x.clamp_(max: 0.5).data<float>());
        Assert.Equal([0f, 0.5f], x.masked_fill_(torch.tensor([true, false]), 0).data<float>());
    }

    [Fact]
    public void Products_agree_with_each_other()
    {
        using var generator = new torch.Generator(4);
        var a = torch.randn([3, 4], torch.float64, generator: generator);
        var b = torch.randn([4, 5], torch.float64, generator: generator);
        var product = a.mm(b);
        Assert.True(product.allclose(a.matmul(b)));
        Assert.True(product.allclose(a.unsqueeze(0).bmm(b.unsqueeze(0))[0]));
        Assert.True(product.allclose(torch.einsum("nk,km->nm", a, b)));
        Assert.True(product.allclose(torch.nn.functional.linear(a, b.t())));
        Assert.True((product * 2 + 1).allclose(torch.ones(5, torch.float64).addmm(a, b, alpha: 2)));
    }

    [Fact]
    public void Decompositions_give_the_matrix_back()
    {
        using var generator = new torch.Generator(4);
        var a = torch.randn([5, 3], torch.float64, generator: generator);
        var (u, s, vh) = torch.linalg.svd(a);
        Assert.True((u * s).matmul(vh).allclose(a));
        var (q, r) = torch.linalg.qr(a);
        Assert.True(q.matmul(r).allclose(a));
        var gram = a.t().matmul(a);
        var (values, vectors) = torch.linalg.eigh(gram);
        Assert.True((vectors * values).matmul(vectors.t()).allclose(gram));
        Assert.True(gram.matmul(torch.linalg.solve(gram, a.t())).allclose(a.t()));
        Assert.Equal(a.norm().ToDouble(), torch.linalg.vector_norm(a).ToDouble(), 1e-12);
        Assert.Equal([5], torch.linalg.vector_norm(a, 1, [1]).shape);
    }

    [Fact]
    public void Conversions_that_change_nothing_share_the_elements()
    {
        var x = torch.zeros(2);
        x.to(torch.float32).add_(1);
        x.to(torch.float32, copy: true).add_(1);
        x.clone().add_(1);
        Assert.Equal([1f, 1], x.data<float>());
        Assert.Equal([1L, 1], x.to(torch.int64).data<long>());
        Assert.False(x.equal(torch.ones(2, 1)));
    }
}
