using System.Text;
using Peft.Formats.Tokenizers.Models;

namespace Peft.Formats.Tokenizers.Decoders;

/// <summary>
/// "ByteLevel": token characters back to bytes, all bytes together read as UTF-8. A character whose bytes are split over
/// tokens is passed on when it is complete; what is no UTF-8 becomes U+FFFD.
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
