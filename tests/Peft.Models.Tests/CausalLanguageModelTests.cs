using Peft.Formats;
using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class CausalLanguageModelTests
{
    private static readonly long[] Ids = [3, 17, 0, 39, 8];

    [Fact]
    public void Every_projection_has_its_hugging_face_path_in_module_order_with_the_head_last()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        Assert.Equal((3 * 7) + 1, model.Projections.Count);
        Assert.Equal(
            ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            model.Projections.Take(7).Select(projection => projection.ShortName));
        Assert.Equal("model.layers.0.self_attn.q_proj", model.Projections[0].Path);
        Assert.Equal("lm_head", model.Projections[^1].Path);
        Assert.Same(model.HeadProjection, model.Projections[^1]);
        Assert.Equal((16L, 24L), (model.Projections[4].InFeatures, model.Projections[4].OutFeatures));
    }

    [Fact]
    public void Wrapped_projection_runs_in_place_of_the_base_and_the_base_weights_stay_listed()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        var before = ModelRuns.Logits(model, Ids);
        var names = model.StateDict().Select(entry => entry.Name).ToArray();
        foreach (var projection in model.Projections)
            model.Wrap(projection.Path, inner => new Scaled(inner, 1));
        Assert.Equal(before, ModelRuns.Logits(model, Ids));
        Assert.All(model.Projections, projection => Assert.IsType<Scaled>(projection));
        Assert.Equal(names, model.StateDict().Select(entry => entry.Name));
        Assert.False(model.HasPlainHead);

        model.Wrap("model.layers.1.mlp.down_proj", inner => new Scaled(inner, 3));
        Assert.InRange(ModelRuns.LargestDifference(before, ModelRuns.Logits(model, Ids)), 1e-3, 100);
        foreach (var path in model.Projections.Select(projection => projection.Path))
            model.Wrap(path, Innermost);
        Assert.Equal(before, ModelRuns.Logits(model, Ids));
        Assert.True(model.HasPlainHead);

        static Projection Innermost(Projection projection) =>
            projection is Scaled scaled ? Innermost(scaled.Inner) : projection;
    }

    [Fact]
    public void Wrapping_an_unknown_path_names_the_nearest()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        var error = Assert.Throws<UserException>(() => model.Wrap("model.layers.0.self_attn.w_proj", inner => inner));
        Assert.Contains("'model.layers.0.self_attn.w_proj'", error.Message, StringComparison.Ordinal);
        Assert.EndsWith("_proj'?", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Frozen_model_builds_no_graph_and_a_wrapped_layer_gets_its_gradient()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        using var scope = torch.NewDisposeScope();
        var ids = torch.tensor(Ids, [1, Ids.Length]);
        Assert.False(model.Forward(ids, ForwardPass.ForTraining()).requires_grad);

        Scaled? wrapper = null;
        model.Wrap("model.layers.1.self_attn.v_proj", inner => wrapper = new Scaled(inner, 1));
        model.Forward(ids, ForwardPass.ForTraining()).pow(2).sum().backward();
        Assert.NotNull(wrapper!.Factor.grad);
        Assert.NotEqual(0, wrapper.Factor.grad!.ToDouble());
        Assert.False(model.Forward(ids, ForwardPass.ForInference()).requires_grad);
    }

    [Fact]
    public void Gradient_of_a_base_weight_equals_the_difference_quotient()
    {
        using var checkpoint = new TinyCheckpoint("qwen3", "\"head_dim\": 8, \"tie_word_embeddings\": true");
        foreach (var name in new[] { "model.embed_tokens.weight", "model.layers.0.self_attn.q_norm.weight",
            "model.layers.2.mlp.gate_proj.weight" })
        {
            using var model = ModelLoader.Load(checkpoint.Path, ScalarType.Float64);
            model.RequireGrad(true);
            using var scope = torch.NewDisposeScope();
            var weight = model.BaseParameters.First(entry => entry.Name == name).Parameter;
            Loss().backward();
            var index = weight.shape.Length == 1 ? new long[] { 1 } : [3, 1]; // token 3 is in the batch
            var gradient = Element(weight.grad!).ToDouble();
            const double Step = 1e-5;
            var above = Shifted(Step);
            var below = Shifted(-2 * Step);
            Assert.Equal((above - below) / (2 * Step), gradient, 1e-5);

            Tensor Loss() => model.Forward(torch.tensor(Ids, [1, Ids.Length]), ForwardPass.ForTraining()).pow(2).mean();
            Tensor Element(Tensor tensor) => index.Aggregate(tensor, (current, at) => current.select(0, at));
            double Shifted(double by)
            {
                using var noGrad = torch.no_grad();
                Element(weight).add_(by);
                return Loss().ToDouble();
            }
        }
    }

    [Fact]
    public void Forward_leaves_no_tensor_behind()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        ModelRuns.Logits(model, Ids);
        var before = LiveTensors.Settled();
        ModelRuns.Logits(model, Ids);
        foreach (var _ in TextGeneration.Generate(
            model, [3, 17], new GenerationOptions { MaxNewTokens = 5, EosTokenIds = [] }))
        {
        }

        LiveTensors.AssertNoMoreThan(before);
    }

    [Fact]
    public void Records_outlive_the_block_that_emitted_them()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        model.Wrap("model.layers.0.mlp.up_proj", inner => new Scaled(inner, 2));
        var before = LiveTensors.Settled();
        using (torch.NewDisposeScope())
        {
            var pass = ForwardPass.ForTraining();
            model.Forward(torch.tensor(Ids, [1, Ids.Length]), pass);
            var record = Assert.Single(pass.Records<Seen>());
            Assert.Equal([1, 5, 24], record.Output.shape);
            Assert.True(double.IsFinite(record.Output.sum().ToDouble()));
        }

        LiveTensors.AssertNoMoreThan(before);
    }

    [Fact]
    public void Input_of_another_width_names_the_layer()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        using var wrong = torch.zeros([1, 5]);
        var error = Assert.Throws<ArgumentException>(
            () => model.Projections[0].Forward(wrong, ForwardPass.ForInference()));
        Assert.StartsWith(
            "model.layers.0.self_attn.q_proj: input width 5, weight expects 16", error.Message,
            StringComparison.Ordinal);
    }

    private sealed record Seen(Tensor Output) : IPassRecord
    {
        public IEnumerable<Tensor> Tensors => [Output];
    }

    private sealed class Scaled : Projection
    {
        public Scaled(Projection inner, double factor)
            : base(inner.Path, inner.InFeatures, inner.OutFeatures)
        {
            Inner = inner;
            Factor = torch.full([1], factor).ToParameter();
            register_parameter("factor", Factor);
        }

        public Projection Inner { get; }

        public Parameter Factor { get; }

        public override Tensor Forward(Tensor x, ForwardPass pass)
        {
            var output = Inner.Forward(x, pass).mul(Factor);
            pass.Emit(new Seen(output.detach()));
            return output;
        }
    }
}
