using Peft.Formats.HuggingFace;
using Peft.Models.Families;

namespace Peft.Models.Tests.Families;

/// <summary>A family as someone would add it: one file, and one line that puts it into the catalog. Its config spells
/// every size in another way, and its layers take turns in seeing the last few tokens only.</summary>
public static class OffshootFamily
{
    public static ModelFamily Family { get; } = DecoderModel.Family("offshoot", Read);

    private static DecoderConfig Read(ModelConfigFile file)
    {
        var layers = file.RequiredInt("n_layer");
        var heads = file.RequiredInt("n_head");
        var width = file.RequiredInt("d_model");
        return new DecoderConfig
        {
            File = file,
            ModelType = file.ModelType,
            VocabularySize = file.RequiredInt("n_vocab"),
            HiddenSize = width,
            LayerCount = layers,
            HeadCount = heads,
            KeyValueHeadCount = file.Int("n_kv_head", heads),
            HeadSize = width / heads,
            HeadsDivideWidth = true,
            IntermediateSize = file.RequiredInt("d_inner"),
            MaxPositionEmbeddings = file.Int("n_ctx", 64),
            TieWordEmbeddings = false,
            InitializerRange = 0.02,
            EosTokenIds = file.EosTokenIds,
            NormEpsilon = file.Number("norm_eps", 1e-6),
            Rope = file.Rope,
            QueryKeyValueBias = false,
            OutputBias = false,
            Windows = [.. Enumerable.Range(0, layers)
            .Select(layer => layer % 2 == 0 ? file.OptionalInt("local_window") : null)],
        }.Checked();
    }
}
