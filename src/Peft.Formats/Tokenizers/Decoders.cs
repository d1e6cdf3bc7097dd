using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// One step from token texts to plain text. Tokens arrive one by one and may come in several chunks; a step passes on
/// what can no longer change. Decoding a whole text is the same thing with a flush at the end, so streamed pieces
/// always add up to it.
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
/// What separates tokens: nothing after a decoder, a space where the tokenizer has none.
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

/// <summary>
/// "ByteLevel": token characters back to bytes, all bytes together read as UTF-8. A character whose bytes are split
/// over tokens is passed on when it is complete; what is no UTF-8 becomes U+FFFD.
/// </summary>
internal sealed class ByteLevelStep(DecoderStep next) : DecoderStep(next)
{
    private readonly Decoder _utf8 = Encoding.UTF8.GetDecoder();
    private readonly StringBuilder _token = new();
    private byte[] _bytes = new byte[64];
    private char[] _characters = new char[80];
    private bool _started;

    // Half a character would come out as U+FFFD if the text ended here.
    public override bool HoldsBack => _utf8.GetCharCount([], flush: true) > 0 || base.HoldsBack;

    public override void Begin()
    {
        if (!_started)
            Next.Begin();
        _started = true;
        _token.Clear();
    }

    public override void Text(ReadOnlySpan<char> chunk) => _token.Append(chunk);

    public override void End()
    {
        var most = Encoding.UTF8.GetMaxByteCount(_token.Length);
        if (_bytes.Length < most)
        {
            _bytes = new byte[most];
            _characters = new char[most + 16];
        }

        var token = _token.ToString();
        var count = 0;
        foreach (var character in token)
        {
            var value = ByteAlphabet.ByteOf(character);
            if (value < 0)
            {
                // Not written in the byte alphabet (an added token): the text itself.
                count = Encoding.UTF8.GetBytes(token, _bytes);
                break;
            }

            _bytes[count++] = (byte)value;
        }

        Pass(count, flush: false);
    }

    public override void Finish()
    {
        if (!_started)
            Next.Begin();
        Pass(0, flush: true);
        Next.End();
        _started = false;
        base.Finish();
    }

    private void Pass(int count, bool flush)
    {
        var written = _utf8.GetChars(_bytes.AsSpan(0, count), _characters, flush);
        if (written > 0)
            Next.Text(_characters.AsSpan(0, written));
    }
}

/// <summary>
/// "ByteFallback": a run of tokens &lt;0x00&gt; to &lt;0xFF&gt; becomes the text that its bytes spell, or one U+FFFD
/// for each byte where the run as a whole is not UTF-8. Known only when the run ends, so that long a stream waits.
/// </summary>
internal sealed class ByteFallbackStep(DecoderStep next) : WholeTokenStep(next)
{
    private readonly List<byte> _run = [];

    public override bool HoldsBack => _run.Count > 0 || base.HoldsBack;

    public override void Finish()
    {
        EndRun();
        base.Finish();
    }

    protected override void Process(string token)
    {
        if (token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
            && byte.TryParse(
                token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
        {
            _run.Add(value);
            return;
        }

        EndRun();
        Emit(token);
    }

    private void EndRun()
    {
        if (_run.Count == 0)
            return;
        byte[] bytes = [.. _run];
        _run.Clear();
        if (Utf8.IsValid(bytes))
        {
            Emit(Encoding.UTF8.GetString(bytes));
            return;
        }

        foreach (var _ in bytes)
            Emit("\uFFFD");
    }
}

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

/// <summary>"Replace", inside each token.</summary>
internal sealed class ReplaceStep(INormalizer replace, DecoderStep next) : WholeTokenStep(next)
{
    protected override void Process(string token) => Emit(replace.Normalize(token));
}

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

/// <summary>
/// "WordPiece": a token with the prefix joins the one before, any other begins a word; cleaning up takes the spaces
/// that English does not set before punctuation and contractions.
/// </summary>
internal sealed class WordPieceStep(string prefix, bool cleansUp, DecoderStep next) : WholeTokenStep(next)
{
    private static readonly (string Found, string Made)[] CleanUps =
    [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
        (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ];

    private bool _isFirst = true;

    public override void Finish()
    {
        _isFirst = true;
        base.Finish();
    }

    protected override void Process(string token)
    {
        if (!_isFirst)
            token = token.StartsWith(prefix, StringComparison.Ordinal) ? token[prefix.Length..] : " " + token;
        _isFirst = false;
        if (cleansUp)
        {
            foreach (var (found, made) in CleanUps)
                token = token.Replace(found, made, StringComparison.Ordinal);
        }

        Emit(token);
    }
}

/// <summary>Reads "decoder" as the list of its steps, each given as what makes it before the next one.</summary>
internal static class DecoderReader
{
    public static IReadOnlyList<Func<DecoderStep, DecoderStep>> Read(JsonPart part)
    {
        var growths = new List<double>();
        var steps = ReadSteps(part, growths);
        ChainLimits.Require(part, steps.Count, growths);
        return steps;
    }

    private static IReadOnlyList<Func<DecoderStep, DecoderStep>> ReadSteps(JsonPart part, List<double> growths)
    {
        switch (part.Type)
        {
            case "Sequence":
                return [.. part.Required("decoders").Items().SelectMany(step => ReadSteps(step, growths))];
            case "ByteLevel":
                return [next => new ByteLevelStep(next)];
            case "ByteFallback":
                return [next => new ByteFallbackStep(next)];
            case "Fuse":
                return [next => new FuseStep(next)];
            case "Replace":
                var replace = NormalizerReader.ReadReplace(part);
                growths.Add(replace.Growth);
                return [next => new ReplaceStep(replace, next)];
            case "Strip":
                var content = part.Required("content");
                var character = content.Text() is [var one] ? one : throw content.Fault(
                    Quote.Of(content.Text()), "one character");
                var start = part.Required("start").Integer(0, 1 << 20);
                var stop = part.Required("stop").Integer(0, 1 << 20);
                return [next => new StripStep(character, start, stop, next)];
            case "Metaspace":
                var (replacement, scheme) = PreTokenizerReader.ReadMark(part);
                return [next => new MetaspaceStep(replacement, scheme != PrependScheme.Never, next)];
            case "WordPiece":
                var prefix = part.Optional("prefix")?.Text() ?? "##";
                var cleansUp = part.Boolean("cleanup", true);
                return [next => new WordPieceStep(prefix, cleansUp, next)];
            default:
                throw part.Unsupported(
                    part.Type,
                    "ByteLevel", "ByteFallback", "Fuse", "Replace", "Strip", "Metaspace", "WordPiece", "Sequence");
        }
    }
}
