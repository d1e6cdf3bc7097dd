using System.Buffers;
using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>A token found in the text before anything else is done with it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text.</param>
/// <param name="IsSpecial">Whether decoding can leave it out.</param>
/// <param name="StripsLeft">Whether it takes the white space before it.</param>
/// <param name="StripsRight">Whether it takes the white space after it.</param>
/// <param name="IsSingleWord">Whether it counts only where no word character touches it.</param>
/// <param name="IsNormalized">Whether it is looked for in the normalized text.</param>
internal sealed record AddedToken(
    int Id, string Content, bool IsSpecial, bool StripsLeft, bool StripsRight, bool IsSingleWord, bool IsNormalized);

/// <summary>
/// Finds added tokens in one pass from left to right: the leftmost, and of those that start at one place the longest.
/// Places where no token can start are skipped by a vectorised search; a place where one can costs at most the longest
/// token.
/// </summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<long, int> _edges = [];
    // By trie node: the token that ends there.
    private readonly List<AddedToken?> _ends = [null];
    private readonly SearchValues<char> _firsts;

    /// <param name="tokens">Each with the text to look for: its content, or that content normalized.</param>
    public AddedTokenMatcher(IEnumerable<(string Text, AddedToken Token)> tokens)
    {
        var firsts = new HashSet<char>();
        foreach (var (text, token) in tokens)
        {
            if (text.Length == 0)
                continue;
            firsts.Add(text[0]);
            var node = 0;
            foreach (var c in text)
            {
                if (!_edges.TryGetValue(EdgeOf(node, c), out var next))
                {
                    next = _ends.Count;
                    _edges.Add(EdgeOf(node, c), next);
                    _ends.Add(null);
                }

                node = next;
            }

            _ends[node] ??= token;
        }

        _firsts = SearchValues.Create([.. firsts]);
    }

    public bool IsEmpty => _ends.Count == 1;

    /// <summary>
    /// Cuts the text into stretches with and without a token, in order; stretches without may not be empty. The last
    /// argument of <paramref name="emit"/> is the token's id, or -1.
    /// </summary>
    public void Cut(string text, Action<int, int, int> emit)
    {
        var done = 0;
        for (var at = 0; at < text.Length;)
        {
            var candidate = text.AsSpan(at).IndexOfAny(_firsts);
            if (candidate < 0)
                break;
            at += candidate;
            var token = LongestAt(text, at, out var end);
            if (token is null)
            {
                at++;
                continue;
            }

            var start = at;
            at = end;
            if (token.IsSingleWord && TouchesWord(text, start, end))
                continue;
            if (token.StripsLeft)
            {
                while (start > done && char.IsWhiteSpace(text[start - 1]))
                    start--;
            }

            if (token.StripsRight)
            {
                while (end < text.Length && char.IsWhiteSpace(text[end]))
                    end++;
            }

            if (start > done)
                emit(done, start, -1);
            emit(start, end, token.Id);
            done = end;
            at = Math.Max(at, end);
        }

        if (done < text.Length)
            emit(done, text.Length, -1);
    }

    private AddedToken? LongestAt(string text, int start, out int end)
    {
        AddedToken? longest = null;
        end = start;
        var node = 0;
        for (var at = start; at < text.Length && _edges.TryGetValue(EdgeOf(node, text[at]), out node); at++)
        {
            if (_ends[node] is { } token)
                (longest, end) = (token, at + 1);
        }

        return longest;
    }

    private static bool TouchesWord(string text, int start, int end)
    {
        Rune.DecodeLastFromUtf16(text.AsSpan(0, start), out var before, out _);
        Rune.DecodeFromUtf16(text.AsSpan(end), out var after, out _);
        return start > 0 && CodePoints.IsWord(before.Value) || end < text.Length && CodePoints.IsWord(after.Value);
    }

    private static long EdgeOf(int node, char c) => ((long)node << 16) | c;
}
