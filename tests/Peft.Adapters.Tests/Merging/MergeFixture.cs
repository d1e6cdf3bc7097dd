using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Tests.Lora;

namespace Peft.Adapters.Tests.Merging;

/// <summary>Adapters of a tiny model with random values and gates, and merging them by name.</summary>
internal sealed class MergeFixture(TinyModel tiny)
{
    public static readonly BaseIdentity Base = new("tiny", "0123456789abcdef");

    public void Law() => Adapter("law", """{"r": 2, "lora_alpha": 6}""", 1);

    public void Code() => Adapter("code", """{"r": 3, "lora_alpha": 5, "use_rslora": true,"""
        + """ "target_modules": ["q_proj", "up_proj"]}""", 2);

    public void Adapter(string name, string options, long seed, BaseIdentity? identity = null, bool gated = true,
        string? template = null)
    {
        var adapted = AdapterAttachment.Attach(tiny.New(), AdapterOptionsTests.Read(options), seed);
        AttachmentTests.FillUp(adapted);
        using (torch.no_grad())
        {
            // Other values than another seed's, whatever the helper fills in.
            foreach (var module in adapted.Modules)
                module.Up.add_(torch.randn(module.Up.shape, generator: Seeds.GeneratorFor(seed, module.Path)) * 0.1);
        }
        BundleWriter.Write(tiny.In(name), new BundleContents
        {
            Adapted = adapted, Base = identity ?? Base, ChatTemplate = template,
        });
        if (gated)
            GateFile.Write(
                tiny.In(name),
                [.. adapted.Modules.SelectMany(
                    module => new[] { GateVectors.Gate, GateVectors.MeanInput }.Select(kind =>
                (module.Path, kind, torch.randn(
                    [module.InFeatures], generator: Seeds.GeneratorFor(seed, module.Path + kind)))))],
                new TaskEmbedding($"rows of {name}", false, Numbers(seed)));
    }

    public static IReadOnlyList<float> Numbers(long seed, int count = 16) =>
        [.. torch.randn([count], generator: Seeds.GeneratorFor(seed, "task")).data<float>().ToArray()];

    public AdaptedModel Load(string name) =>
        Bundle.Open(tiny.In(name)).Attach(tiny.New(), new AttachOptions { Base = Base });

    /// <summary>The update of a module, scale included; null where it is not adapted.</summary>
    public static Tensor? Update(AdaptedModel adapted, string path) =>
        adapted.Modules.FirstOrDefault(module => module.Path == path) is { } found
            ? found.Up.detach().matmul(found.Down.detach()) * found.Shape.Scale
            : null;

    public MergeReport Merge(string method, string[] names, string into = "out") =>
        Merge(MergeCatalog.Find(method)!, new MergeOptions(), into, [
            .. names.SelectMany(name => MergeSource.Open(tiny.In(name)))]);

    public MergeReport Merge(
        MergeMethod method, MergeOptions options, string into, IReadOnlyList<MergeSource> sources) =>
        AdapterMerge.Run(sources, method, options, null, tiny.In(into));
}
