namespace Peft.Torch.Tests.Tensors;

public sealed class GeneratorTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void The_same_seed_gives_the_same_numbers_and_zero_is_a_seed()
    {
        using var a = new torch.Generator(0);
        using var b = new torch.Generator(0);
        using var c = new torch.Generator(1);
        var drawn = torch.randn([100], generator: a);
        Assert.True(drawn.equal(torch.randn([100], generator: b)));
        Assert.False(drawn.equal(torch.randn([100], generator: c)));
    }

    [Fact]
    public void Seed_42_draws_the_numbers_that_PyTorch_draws()
    {
        // torch.manual_seed(42); torch.rand(3), a value known by heart to everyone who ran it.
        using var generator = new torch.Generator(42);
        var drawn = torch.rand([3], generator: generator).data<float>();
        Assert.Equal([0.8823f, 0.9150f, 0.3829f], drawn.Select(v => MathF.Round(v, 4)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(1000)]
    public void A_state_put_back_goes_on_exactly_where_it_was_taken(int drawnBefore)
    {
        using var generator = new torch.Generator(5);
        torch.randn([drawnBefore], generator: generator);
        var state = generator.GetState();
        var expected = torch.randn([50], generator: generator);
        var more = torch.rand([50], generator: generator);

        using var other = new torch.Generator(99);
        other.SetState(state);
        Assert.True(expected.equal(torch.randn([50], generator: other)));
        Assert.True(more.equal(torch.rand([50], generator: other)));
        Assert.Equal(generator.GetState(), other.GetState());
    }

    [Fact]
    public void A_state_of_another_size_is_refused()
    {
        using var generator = new torch.Generator(1);
        Assert.Throws<TorchException>(() => generator.SetState(new byte[10]));
    }

    [Fact]
    public void Manual_seed_starts_over()
    {
        using var generator = new torch.Generator(3);
        var first = torch.rand([4], generator: generator);
        generator.manual_seed(3);
        Assert.True(first.equal(torch.rand([4], generator: generator)));
    }

    [Fact]
    public void Names_have_streams_of_their_own()
    {
        using var a = torch.GeneratorFor(1, "layers.0.lora_A");
        using var b = torch.GeneratorFor(1, "layers.1.lora_A");
        using var again = torch.GeneratorFor(1, "layers.0.lora_A");
        var drawn = torch.rand([10], generator: a);
        Assert.False(drawn.equal(torch.rand([10], generator: b)));
        Assert.True(drawn.equal(torch.rand([10], generator: again)));
    }

    [Fact]
    public void The_seed_of_a_name_is_pinned()
    {
        // python: int.from_bytes(hashlib.sha256((7).to_bytes(8,'little') + b'dropout').digest()[:8], 'little',
        // signed=True)
        Assert.Equal(5905616634568821315L, torch.SeedFor(7, "dropout"));
    }

    [Fact]
    public void Drawing_by_weight_never_takes_what_has_none()
    {
        using var generator = new torch.Generator(2);
        var drawn = torch.tensor([0f, 1, 0, 3]).multinomial(200, replacement: true, generator).data<long>();
        Assert.All(drawn, index => Assert.True(index is 1 or 3));
        Assert.InRange(drawn.Count(i => i == 3), 120, 180);
    }

    [Fact]
    public void In_place_draws_use_their_generator()
    {
        using var a = new torch.Generator(8);
        using var b = new torch.Generator(8);
        Assert.True(torch.empty([64]).uniform_(-1, 1, a).equal(torch.empty([64]).uniform_(-1, 1, b)));
        Assert.True(torch.empty([64]).normal_(2, 3, a).equal(torch.empty([64]).normal_(2, 3, b)));
        Assert.True(torch.empty([64]).bernoulli_(0.3, a).equal(torch.empty([64]).bernoulli_(0.3, b)));
        Assert.True(torch.randperm(20, generator: a).equal(torch.randperm(20, generator: b)));
        Assert.True(torch.randint(0, 9, [20], generator: a).equal(torch.randint(0, 9, [20], generator: b)));
    }
}
