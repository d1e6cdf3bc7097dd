using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Tests.Lora;

namespace Peft.Adapters.Tests.Bundles;

/// <summary>What a bundle of the tiny model holds, as if it had been trained.</summary>
internal static class TinyBundle
{
    public static BaseIdentity Base { get; } = new("example/tiny-llama", new string('a', 64));

    public static AdaptedModel Trained(TinyModel tiny, AdapterOptions options)
    {
        var adapted = AdapterAttachment.Attach(tiny.New(), options, seed: 1);
        AttachmentTests.FillUp(adapted);
        return adapted;
    }

    public static BundleContents Contents(AdaptedModel adapted) => new()
    {
        Adapted = adapted,
        Base = Base,
        ResolvedRecipe = "seed: 1\n",
        Seed = 1,
        Data = [new DataIdentity("train.jsonl", new string('c', 64))],
    };
}
