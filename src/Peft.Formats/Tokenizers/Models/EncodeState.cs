namespace Peft.Formats.Tokenizers.Models;

/// <summary>What one encoding call writes to and reuses: never shared by two threads at a time.</summary>
internal sealed class EncodeState(MergeTable merges)
{
    private const int KeepAtMost = 1 << 20;

    public WordCache Cache { get; } = new();

    public LongWordCache LongCache { get; } = new();

    public SymbolMerger Merger { get; } = new(merges);

    public IdBuffer Ids { get; } = new();

    public List<PreTokenizers.Piece> Pieces { get; } = [];

    public List<PreTokenizers.Piece> NextPieces { get; } = [];

    private byte[] _utf8 = new byte[4096];

    /// <summary>UTF-8 of the text (a lone surrogate becomes U+FFFD); valid until the next call.</summary>
    public ReadOnlySpan<byte> ToUtf8(ReadOnlySpan<char> text)
    {
        var most = System.Text.Encoding.UTF8.GetMaxByteCount(text.Length);
        if (_utf8.Length < most)
            _utf8 = new byte[most];
        return _utf8.AsSpan(0, System.Text.Encoding.UTF8.GetBytes(text, _utf8));
    }

    /// <summary>Made ready for the next text; what a huge text needed is given up.</summary>
    public void Clear()
    {
        Ids.Clear();
        Pieces.Clear();
        NextPieces.Clear();
        if (_utf8.Length > 4 * KeepAtMost)
            _utf8 = new byte[4096];
        if (Pieces.Capacity > KeepAtMost)
            Pieces.Capacity = 0;
        if (NextPieces.Capacity > KeepAtMost)
            NextPieces.Capacity = 0;
    }
}
