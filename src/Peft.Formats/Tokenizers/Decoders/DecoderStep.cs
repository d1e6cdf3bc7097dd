using System.Text;

namespace Peft.Formats.Tokenizers.Decoders;

/// <summary>
/// One step from token texts to plain text. Tokens arrive one by one and may come in several chunks; a step passes on
/// what can no longer change. Decoding a whole text is the same thing with a flush at the end, so streamed pieces always
/// add up to it.
/// </summary>
/// <param name="next">The step after this one.</param>
internal abstract class DecoderStep(DecoderStep? next)
{
    protected DecoderStep Next => next!;

    /// <summary>Whether this step or one after it keeps text that waits for the next token.</summary>
    public virtual bool HoldsBack => Next.HoldsBack;

    public abstract void Begin();

    public abstract void Text(ReadOnlySpan<char> chunk);

    public abstract void End();

    /// <summary>No more tokens: passes on what was held back.</summary>
    public virtual void Finish() => Next.Finish();
}

/// <summary>The end of the chain: gathers the text.</summary>
/// <param name="output">Where to.</param>
/// <param name="separator">
/// What stands between tokens: nothing after a decoder, a space where the tokenizer has none.
/// </param>
internal sealed class OutputStep(StringBuilder output, string separator) : DecoderStep(null)
{
    private bool _hasToken;

    public override bool HoldsBack => false;

    public override void Begin()
    {
        if (_hasToken)
            output.Append(separator);
        _hasToken = true;
    }

    public override void Text(ReadOnlySpan<char> chunk) => output.Append(chunk);

    public override void End()
    {
    }

    public override void Finish() => _hasToken = false;
}

/// <summary>A step that looks at whole tokens.</summary>
internal abstract class WholeTokenStep(DecoderStep next) : DecoderStep(next)
{
    private readonly StringBuilder _token = new();

    public override void Begin() => _token.Clear();

    public override void Text(ReadOnlySpan<char> chunk) => _token.Append(chunk);

    public override void End() => Process(_token.ToString());

    protected abstract void Process(string token);

    protected void Emit(string token)
    {
        Next.Begin();
        Next.Text(token);
        Next.End();
    }
}
