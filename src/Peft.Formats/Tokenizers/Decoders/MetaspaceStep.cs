namespace Peft.Formats.Tokenizers.Decoders;

/// <summary>"Metaspace": marks become spaces; those of the first token vanish where encoding put one there.</summary>
internal sealed class MetaspaceStep(string replacement, bool prepends, DecoderStep next) : WholeTokenStep(next)
{
    private bool _isFirst = true;

    public override void Finish()
    {
        _isFirst = true;
        base.Finish();
    }

    protected override void Process(string token)
    {
        Emit(token.Replace(replacement, _isFirst && prepends ? "" : " ", StringComparison.Ordinal));
        _isFirst = false;
    }
}
