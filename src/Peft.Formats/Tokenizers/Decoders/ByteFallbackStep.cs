using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Peft.Formats.Tokenizers.Decoders;

/// <summary>
/// "ByteFallback": a run of tokens &lt;0x00&gt; to &lt;0xFF&gt; becomes the text that its bytes spell, or one U+FFFD for
/// each byte where the run as a whole is not UTF-8. Known only when the run ends, so that long a stream waits.
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
            && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
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
