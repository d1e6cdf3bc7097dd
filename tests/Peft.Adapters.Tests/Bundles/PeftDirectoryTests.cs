using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Tests.Lora;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Tests.Bundles;

/// <summary>LoRA directories as PEFT writes them: no bundle.json beside them.</summary>
public sealed class PeftDirectoryTests : TensorTests
{
    [Theory]
    [InlineData("""{"r": 4, "lora_alpha": 3, "use_rslora": true, "target_modules": ["q_proj", "v_proj"],"""
        + """ "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 5}}""")]
    [InlineData("""{"r": 2, "target_modules": ".*\\.1\\.mlp\\.(up|down)_proj"}""")]
    [InlineData("""{"r": 2, "target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]}""")]
    [InlineData("""{"r": 2, "exclude_modules": ["o_proj"], "layers_to_transform": [0]}""")]
    public void Ranks_alphas_and_targets_of_every_form_are_read(string options)
    {
        var (logits, adapted) = Write(AdapterOptionsTests.Read(options), ScalarType.Float32);
        var again = Tiny.New();

        var loaded = Bundle.Open(Tiny.In("out")).Attach(again);

        Assert.Equal(adapted.Modules.Select(Shape), loaded.Modules.Select(Shape));
        Assert.True(logits.SameAs(TinyModel.Logits(again)));
    }

    [Theory]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float64)]
    public void Tensors_of_any_floating_type_become_float32(ScalarType dtype)
    {
        var (_, adapted) = Write(new AdapterOptions { R = 2 }, dtype);

        var loaded = Bundle.Open(Tiny.In("out")).Attach(Tiny.New());

        Assert.All(adapted.State.Zip(loaded.State), pair =>
        {
            Assert.Equal(ScalarType.Float32, pair.Second.Tensor.dtype);
            Assert.True(pair.First.Tensor.to(dtype).to(ScalarType.Float32).SameAs(pair.Second.Tensor), pair.First.Name);
        });
    }

    private static (string Path, int Rank, double Scale) Shape(MixtureProjection module) =>
        (module.Path, module.Shape.Rank, module.Shape.Scale);

    private (Tensor Logits, AdaptedModel Adapted) Write(AdapterOptions options, ScalarType dtype)
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), options, seed: 1);
        AttachmentTests.FillUp(adapted);
        var contents = new BundleContents { Adapted = adapted, Base = new BaseIdentity("tiny", "f") };
        BundleWriter.Write(Tiny.In("out"), contents);
        File.Delete(Tiny.In("out", "bundle.json"));
        var kinds = new Dictionary<ScalarType, SafetensorsDtype>
        {
            [ScalarType.Float32] = SafetensorsDtype.F32,
            [ScalarType.Float64] = SafetensorsDtype.F64,
            [ScalarType.Float16] = SafetensorsDtype.F16,
            [ScalarType.BFloat16] = SafetensorsDtype.BF16,
        };
        SafetensorsWriter.WriteFile(
            Tiny.In("out", "adapter_model.safetensors"), [.. adapted.State.Select(pair => new SafetensorsWrite(
            BundleTensors.NameInFile(pair.Name, true), kinds[dtype], pair.Tensor.shape, pair.Tensor.to(
                dtype).WriteBytes))]);
        return (TinyModel.Logits(adapted.Model), adapted);
    }
}
