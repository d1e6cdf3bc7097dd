using System.Runtime.InteropServices;
using System.Text;
using Peft.Formats.Tokenizers.PreTokenizers;

namespace Peft.Formats.Tokenizers.Training;

/// <summary>Counts the words of texts.</summary>
internal sealed class WordCounter(Utf8Scanner scanner)
{
    // One character for each byte, so that the framework's span look-up of string keys can be used.
    private readonly Dictionary<string, long> _counts = [];
    private byte[] _utf8 = new byte[4096];
    private char[] _word = new char[64];

    /// <summary>
    /// Each word as its bytes (one char a byte) with its count, in an order that depends on the words only.
    /// </summary>
    public IReadOnlyList<KeyValuePair<string, long>> Words =>
        [.. _counts.OrderBy(word => word.Key, StringComparer.Ordinal)];

    public void Add(string text)
    {
        var most = Encoding.UTF8.GetMaxByteCount(text.Length);
        if (_utf8.Length < most)
            _utf8 = new byte[most];
        var utf8 = _utf8.AsSpan(0, Encoding.UTF8.GetBytes(text, _utf8));
        var counts = _counts.GetAlternateLookup<ReadOnlySpan<char>>();
        for (var start = 0; start < utf8.Length;)
        {
            var end = scanner.NextEnd(utf8, start);
            if (_word.Length < end - start)
                _word = new char[Math.Max(end - start, _word.Length * 2)];
            var word = _word.AsSpan(0, end - start);
            for (var i = 0; i < word.Length; i++)
                word[i] = (char)utf8[start + i];
            CollectionsMarshal.GetValueRefOrAddDefault(counts, word, out _)++;
            start = end;
        }
    }
}
