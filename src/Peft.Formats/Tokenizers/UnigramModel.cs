using System.Runtime.InteropServices;
using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>The settings of a Unigram model beside its vocabulary.</summary>
/// <param name="Scores">By id: the logarithm of a token's probability.</param>
/// <param name="UnknownId">The id of a character that no token has.</param>
/// <param name="ByteFallback">Whether such a character becomes the tokens of its bytes, where there are all.</param>
internal sealed record UnigramRules(double[] Scores, int UnknownId, bool ByteFallback);

/// <summary>
/// Unigram as in T5 and sentencepiece: of all ways to cut a word into tokens the likeliest, found from its start to its
/// end; of two as likely the one whose last token begins first. Characters that no token has are unknown together.
/// </summary>
/// <remarks>Source: Kudo 2018, arXiv:1804.10959, section 3.2; huggingface/tokenizers,
/// <c>encode_optimized</c>.</remarks>
internal sealed class UnigramModel : WordModel
{
    private const double UnknownPenalty = 10;

    private readonly UnigramRules _rules;
    private readonly double _unknownScore;
    private readonly int[] _fallbackIds = new int[256];
    // What follows a node of the tree of all tokens by byte, and the token that ends there.
    private readonly Dictionary<int, int> _next = [];
    private readonly List<int> _tokens = [Missing];

    public UnigramModel(TokenVocabulary vocabulary, UnigramRules rules)
        : base(vocabulary)
    {
        (_rules, _unknownScore) = (rules, rules.Scores.Min() - UnknownPenalty);
        for (var value = 0; value < 256; value++)
            _fallbackIds[value] = rules.ByteFallback ? vocabulary.Find($"<0x{value:X2}>") : Missing;
        for (var id = 0; id < vocabulary.EndId; id++)
        {
            var node = 0;
            foreach (var value in vocabulary.Utf8Of(id))
            {
                if (!_next.TryGetValue((node << 8) | value, out var next))
                {
                    next = _next[(node << 8) | value] = _tokens.Count;
                    _tokens.Add(Missing);
                }

                node = next;
            }

            if (node > 0)
                _tokens[node] = id;
        }
    }

    /// <summary>The most bytes that all tokens of a vocabulary may have together.</summary>
    public const int MostBytes = 1 << 22;

    public override void EncodeCharacters(ReadOnlySpan<char> word, EncodeState state)
    {
        if (word.IsEmpty)
            return;
        var key = MemoryMarshal.AsBytes(word);
        if (state.TryKnown(key, out var hash))
            return;
        var start = state.Ids.Count;
        var utf8 = Encoding.UTF8.GetBytes(word.ToString());
        foreach (var (from, end, id) in Pieces(utf8))
            Add(utf8.AsSpan(from, end - from), id, state.Ids);
        state.Remember(key, hash, state.Ids.Span[start..]);
    }

    public override void Locate(ReadOnlySpan<char> word, ReadOnlySpan<int> ids, List<TextRange> places)
    {
        var utf8 = Encoding.UTF8.GetBytes(word.ToString());
        var added = new IdBuffer();
        var (at, start) = (0, 0);
        foreach (var (from, end, id) in Pieces(utf8))
        {
            added.Clear();
            Add(utf8.AsSpan(from, end - from), id, added);
            var stop = at;
            for (var length = 0; length < end - from;)
            {
                Rune.DecodeFromUtf16(word[stop..], out var rune, out var characters);
                stop += characters;
                length += rune.Utf8SequenceLength;
            }

            start = at;
            at = stop;
            for (var i = 0; i < added.Count; i++)
                places.Add(new TextRange(start, at));
        }
    }

    private void Add(ReadOnlySpan<byte> piece, int id, IdBuffer output)
    {
        var start = output.Count;
        if (id != Missing)
        {
            output.Add(id);
            return;
        }

        foreach (var value in piece)
        {
            if (_fallbackIds[value] == Missing)
            {
                output.Truncate(start);
                output.Add(_rules.UnknownId);
                return;
            }

            output.Add(_fallbackIds[value]);
        }
    }

    // The likeliest cut: start, end and token of each piece; of unknown ones the token is missing.
    private List<(int Start, int End, int Id)> Pieces(ReadOnlySpan<byte> utf8)
    {
        var best = new (double Score, int Start, int Id)[utf8.Length + 1];
        Array.Fill(best, (0, Missing, Missing));
        for (var start = 0; start < utf8.Length;)
        {
            var score = best[start].Score;
            Rune.DecodeFromUtf8(utf8[start..], out _, out var character);
            var hasCharacter = false;
            var node = 0;
            for (var end = start; end < utf8.Length && _next.TryGetValue((node << 8) | utf8[end], out node);)
            {
                end++;
                if (_tokens[node] is var id && id == Missing)
                    continue;
                Offer(best, start, end, score + _rules.Scores[id], id);
                hasCharacter |= end - start == character;
            }

            if (!hasCharacter)
                Offer(best, start, start + character, score + _unknownScore, _rules.UnknownId);
            start += character;
        }

        var pieces = new List<(int Start, int End, int Id)>();
        for (var end = utf8.Length; end > 0; end = best[end].Start)
        {
            var (_, start, id) = best[end];
            var isUnknown = id == _rules.UnknownId;
            if (isUnknown && pieces.Count > 0 && pieces[^1].Id == Missing)
                pieces[^1] = (start, pieces[^1].End, Missing);
            else
                pieces.Add((start, end, isUnknown ? Missing : id));
        }

        pieces.Reverse();
        // Together the unknown characters may be the text of a token after all.
        for (var i = 0; i < pieces.Count; i++)
        {
            if (pieces[i].Id == Missing)
            {
                var (start, end, _) = pieces[i];
                pieces[i] = (start, end, Vocabulary.Find(utf8[start..end]));
            }
        }

        return pieces;
    }

    private static void Offer((double Score, int Start, int Id)[] best, int start, int end, double score, int id)
    {
        if (best[end].Start == Missing || score > best[end].Score)
            best[end] = (score, start, id);
    }
}
