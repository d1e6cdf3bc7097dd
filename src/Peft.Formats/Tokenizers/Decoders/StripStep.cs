namespace Peft.Formats.Tokenizers.Decoders;

/// <summary>"Strip": takes up to so many of one character from the start and from the end of each token.</summary>
internal sealed class StripStep(char content, int start, int stop, DecoderStep next) : DecoderStep(next)
{
    private int _toCut;
    // Characters that may turn out to be the end.
    private int _held;

    public override bool HoldsBack => _held > 0 || base.HoldsBack;

    public override void Begin()
    {
        (_toCut, _held) = (start, 0);
        Next.Begin();
    }

    public override void Text(ReadOnlySpan<char> chunk)
    {
        while (_toCut > 0 && chunk.Length > 0)
        {
            if (chunk[0] != content)
            {
                _toCut = 0;
                break;
            }

            chunk = chunk[1..];
            _toCut--;
        }

        if (stop == 0)
        {
            Next.Text(chunk);
            return;
        }

        var kept = chunk.TrimEnd(content);
        if (kept.Length > 0)
        {
            Release(_held);
            _held = 0;
            Next.Text(kept);
        }

        _held += chunk.Length - kept.Length;
    }

    public override void End()
    {
        Release(_held - stop);
        Next.End();
    }

    private void Release(int count)
    {
        if (count > 0)
            Next.Text(new string(content, count));
    }
}
