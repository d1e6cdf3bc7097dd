using Peft.Formats.Tokenizers.Normalizers;

namespace Peft.Formats.Tokenizers.Decoders;

/// <summary>"Replace", inside each token.</summary>
internal sealed class ReplaceStep(INormalizer replace, DecoderStep next) : WholeTokenStep(next)
{
    protected override void Process(string token) => Emit(replace.Normalize(token));
}
