using System.Runtime.InteropServices;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Learns merges: counts all neighbouring pairs once, then, merge by merge, touches only the words that hold the merged
/// pair and corrects the counts of its neighbours.
/// </summary>
internal sealed class MergeLearner
{
    private readonly List<string> _tokens;
    private readonly Dictionary<string, int> _ids = [];
    private readonly int[][] _words;
    private readonly int[] _lengths;
    private readonly long[] _counts;
    private readonly Dictionary<long, long> _pairCounts = [];
    private readonly Dictionary<long, List<int>> _pairWords = [];
    // Highest count first, then the lower pair. Entries can be out of date: corrected when they come up.
    private readonly PriorityQueue<long, (long Count, long Pair)> _queue =
        new(Comparer<(long Count, long Pair)>.Create(static (a, b) =>
            a.Count != b.Count ? b.Count.CompareTo(a.Count) : a.Pair.CompareTo(b.Pair)));

    /// <param name="tokens">Special tokens and the byte alphabet; new tokens are appended.</param>
    /// <param name="words">Each word as its bytes, one char a byte, and how often it occurs.</param>
    public MergeLearner(List<string> tokens, IReadOnlyList<KeyValuePair<string, long>> words)
    {
        _tokens = tokens;
        for (var id = 0; id < tokens.Count; id++)
            _ids[tokens[id]] = id;
        var byteIds = new int[256];
        for (var value = 0; value < 256; value++)
            byteIds[value] = _ids[ByteAlphabet.CharacterOf((byte)value).ToString()];
        _words = new int[words.Count][];
        _lengths = new int[words.Count];
        _counts = new long[words.Count];
        for (var word = 0; word < words.Count; word++)
        {
            _words[word] = [.. words[word].Key.Select(value => byteIds[value])];
            _lengths[word] = _words[word].Length;
            _counts[word] = words[word].Value;
            for (var i = 1; i < _lengths[word]; i++)
                Change(_words[word][i - 1], _words[word][i], word, 1);
        }
    }

    /// <summary>Pairs of token ids in the order in which they were merged.</summary>
    public List<(int Left, int Right)> Merges { get; } = [];

    public void Run(int vocabularySize, long minFrequency)
    {
        foreach (var (pair, count) in _pairCounts)
            _queue.Enqueue(pair, (count, pair));
        var touched = new HashSet<long>();
        while (_tokens.Count < vocabularySize && _queue.TryDequeue(out var pair, out var priority))
        {
            var count = _pairCounts[pair];
            if (count != priority.Count)
            {
                if (count > 0)
                    _queue.Enqueue(pair, (count, pair));
                continue;
            }

            if (count < Math.Max(1, minFrequency))
                break;
            Merge(pair, touched);
        }
    }

    private void Merge(long pair, HashSet<long> touched)
    {
        var (left, right) = ((int)(pair >> 32), (int)(uint)pair);
        var text = _tokens[left] + _tokens[right];
        // Two ways to one text share its token.
        ref var id = ref CollectionsMarshal.GetValueRefOrAddDefault(_ids, text, out var exists);
        if (!exists)
        {
            id = _tokens.Count;
            _tokens.Add(text);
        }

        Merges.Add((left, right));
        var merged = id;
        if (!_pairWords.Remove(pair, out var words))
            return;
        touched.Clear();
        var last = -1;
        foreach (var word in words)
        {
            if (word != last)
                MergeIn(word, left, right, merged, touched);
            last = word;
        }

        foreach (var changed in touched)
        {
            if (_pairCounts[changed] > 0)
                _queue.Enqueue(changed, (_pairCounts[changed], changed));
        }
    }

    private void MergeIn(int word, int left, int right, int merged, HashSet<long> touched)
    {
        var symbols = _words[word].AsSpan(0, _lengths[word]);
        var kept = 0;
        for (var i = 0; i < symbols.Length; i++)
        {
            if (symbols[i] != left || i + 1 == symbols.Length || symbols[i + 1] != right)
            {
                symbols[kept++] = symbols[i];
                continue;
            }

            if (kept > 0)
            {
                Change(symbols[kept - 1], left, word, -1);
                touched.Add(Change(symbols[kept - 1], merged, word, 1));
            }

            if (i + 2 < symbols.Length)
            {
                Change(right, symbols[i + 2], word, -1);
                touched.Add(Change(merged, symbols[i + 2], word, 1));
            }

            symbols[kept++] = merged;
            i++;
        }

        _lengths[word] = kept;
    }

    private long Change(int left, int right, int word, int sign)
    {
        var pair = ((long)left << 32) | (uint)right;
        CollectionsMarshal.GetValueRefOrAddDefault(_pairCounts, pair, out _) += sign * _counts[word];
        if (sign > 0)
        {
            ref var words = ref CollectionsMarshal.GetValueRefOrAddDefault(_pairWords, pair, out _);
            words ??= [];
            if (words.Count == 0 || words[^1] != word)
                words.Add(word);
        }

        return pair;
    }
}
