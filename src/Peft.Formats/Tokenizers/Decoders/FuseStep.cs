namespace Peft.Formats.Tokenizers.Decoders;

/// <summary>"Fuse": all tokens become one.</summary>
internal sealed class FuseStep(DecoderStep next) : DecoderStep(next)
{
    private bool _started;

    public override void Begin()
    {
        if (!_started)
            Next.Begin();
        _started = true;
    }

    public override void Text(ReadOnlySpan<char> chunk) => Next.Text(chunk);

    public override void End()
    {
    }

    public override void Finish()
    {
        Begin();
        Next.End();
        _started = false;
        base.Finish();
    }
}
