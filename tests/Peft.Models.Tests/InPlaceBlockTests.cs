using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

/// <summary>Blocks that run in place, without a tensor for each operation, beside the same blocks operation by
/// operation.</summary>
public sealed class InPlaceBlockTests
{
    private static readonly int[][] Prompts = [[3, 17, 0, 39, 8, 21, 5], [1, 2], [30, 11, 11, 4]];

    [Theory]
    [InlineData("llama", "", ScalarType.Float32)]
    [InlineData("llama", "", ScalarType.BFloat16)]
    [InlineData(
        "qwen2", "\"use_sliding_window\": true, \"sliding_window\": 3, \"max_window_layers\": 1", ScalarType.Float32)]
    [InlineData("qwen2", "", ScalarType.BFloat16)]
    [InlineData("qwen3", "\"head_dim\": 8", ScalarType.Float32)]
    [InlineData("mistral", "\"sliding_window\": 4", ScalarType.BFloat16)]
    public void Both_ways_give_the_same_bits(string modelType, string extra, ScalarType dtype)
    {
        using var checkpoint = new TinyCheckpoint(modelType, extra);
        using var inPlace = ModelLoader.Load(checkpoint.Path, dtype);
        using var oneByOne = ModelLoader.Load(checkpoint.Path, dtype);
        foreach (var layer in Enumerable.Range(0, 3))
            oneByOne.Wrap($"model.layers.{layer}.self_attn.o_proj", wrapped => new Unchanged(wrapped));

        long[] ids = [3, 17, 0, 39, 8, 21, 5, 30, 11, 2, 2, 9];
        Assert.Equal(ModelRuns.Logits(oneByOne, ids, 2), ModelRuns.Logits(inPlace, ids, 2));
        Assert.Equal(Packed(oneByOne, ids), Packed(inPlace, ids));
        Assert.Equal(Decoded(oneByOne), Decoded(inPlace));
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Wrapped_projections_run_within_blocks_of_few_rows(ScalarType dtype)
    {
        using var checkpoint = new TinyCheckpoint();
        using var inPlace = ModelLoader.Load(checkpoint.Path, dtype);
        using var oneByOne = ModelLoader.Load(checkpoint.Path, dtype);
        var seen = new List<(string Path, Tensor Input)>();
        foreach (var projection in inPlace.Projections.Where(p => p.Path != "lm_head").ToArray())
        {
            inPlace.Wrap(projection.Path, wrapped => new Doubled(wrapped, isRowwise: true, seen));
            oneByOne.Wrap(projection.Path, wrapped => new Doubled(wrapped, isRowwise: false, []));
        }

        Assert.Equal(Decoded(oneByOne), Decoded(inPlace));
        using var scope = torch.NewDisposeScope();
        seen.Clear();
        ModelRuns.Logits(inPlace, [3, 17, 0]);
        // In the model's order, and what has one input gets one tensor: a router may go by that.
        Assert.Equal(inPlace.Projections.Select(p => p.Path).SkipLast(1), seen.Select(one => one.Path));
        foreach (var block in seen.Chunk(7))
        {
            Assert.Same(block[0].Input, block[1].Input);
            Assert.Same(block[0].Input, block[2].Input);
            Assert.Same(block[4].Input, block[5].Input);
            Assert.NotSame(block[0].Input, block[4].Input);
        }
    }

    [Fact]
    public void Nothing_of_a_block_in_place_stays_alive()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        ModelRuns.Logits(model, [3, 17, 0]);
        var before = LiveTensors.Settled();
        for (var round = 0; round < 5; round++)
            Decoded(model);
        LiveTensors.AssertNoMoreThan(before);
    }

    // Prompts of several lengths, then three steps through a cache that has to grow: logits of the last positions.
    private static float[] Decoded(CausalLanguageModel model)
    {
        var all = new List<float>();
        using var cache = new KeyValueCache(model.Config.LayerCount, capacity: 2);
        var longest = Prompts.Max(prompt => prompt.Length);
        var ids = Prompts.SelectMany(prompt => Enumerable.Repeat(0, longest - prompt.Length).Concat(prompt))
            .Select(id => (long)id).ToArray();
        for (var step = 0; step < 4; step++)
        {
            using var scope = torch.NewDisposeScope();
            var tokens = step == 0 ? longest : 1;
            var seen = Prompts.SelectMany(
                prompt => Enumerable.Range(0, longest + step).Select(column => column >= longest - prompt.Length));
            var places = Prompts.SelectMany(prompt => Enumerable.Range(longest + step - tokens, tokens)
                .Select(column => (long)Math.Max(0, column - (longest - prompt.Length))));
            var pass = ForwardPass.ForInference(
                cache, positions: torch.tensor(places.ToArray(), [Prompts.Length, tokens]),
                keyMask: torch.tensor(seen.ToArray(), [Prompts.Length, longest + step]));
            var hidden = model.Hidden(torch.tensor(ids, [Prompts.Length, tokens]), pass).narrow(1, tokens - 1, 1);
            all.AddRange(model.Head(hidden, pass).to(ScalarType.Float32).contiguous().data<float>().ToArray());
            ids = [7 + step, 20, 33 - step];
        }

        return [.. all];
    }

    private static float[] Packed(CausalLanguageModel model, long[] ids)
    {
        using var scope = torch.NewDisposeScope();
        var pass = ForwardPass.ForInference(segments: new SequenceSegments(2, 6, [0, 4, 4, 6, 7, 11]));
        var hidden = model.Hidden(torch.tensor(ids, [2, 6]), pass);
        return hidden.to(ScalarType.Float32).contiguous().data<float>().ToArray();
    }

    /// <summary>A wrapper that changes nothing: its block no longer runs in place.</summary>
    private sealed class Unchanged : Projection
    {
        private readonly Projection _wrapped;

        public Unchanged(Projection wrapped)
            : base(wrapped.Path, wrapped.InFeatures, wrapped.OutFeatures) =>
            _wrapped = RegisterModule("base_layer", wrapped);

        public override Tensor Forward(Tensor x, ForwardPass pass) => _wrapped.Forward(x, pass);
    }

    /// <summary>Twice what the wrapped one gives; remembers what it was given.</summary>
    private sealed class Doubled : Projection
    {
        private readonly Projection _wrapped;
        private readonly List<(string Path, Tensor Input)> _seen;

        public Doubled(Projection wrapped, bool isRowwise, List<(string Path, Tensor Input)> seen)
            : base(wrapped.Path, wrapped.InFeatures, wrapped.OutFeatures)
        {
            (IsRowwise, _seen) = (isRowwise, seen);
            _wrapped = RegisterModule("base_layer", wrapped);
        }

        public override bool IsRowwise { get; }

        public override Tensor Forward(Tensor x, ForwardPass pass)
        {
            _seen.Add((Path, x));
            return _wrapped.Forward(x, pass) * 2;
        }
    }
}
