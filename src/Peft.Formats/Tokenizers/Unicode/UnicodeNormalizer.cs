using System.Text;

namespace Peft.Formats.Tokenizers.Unicode;

/// <summary>Unicode normalisation forms C, D, KC and KD, in time linear in the text.</summary>
internal sealed class UnicodeNormalizer
{
    private const int SyllableBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int LeadCount = 19, VowelCount = 21, TailCount = 28, SyllableCount = LeadCount * VowelCount * TailCount;

    private readonly NormalizationData _data = NormalizationData.Shared;
    private readonly bool _compatible;
    private readonly bool _composes;
    // By character of the basic plane: whether it never changes and no neighbour changes it.
    private readonly bool[] _stable = new bool[char.MaxValue + 1];

    private UnicodeNormalizer(bool compatible, bool composes)
    {
        (_compatible, _composes) = (compatible, composes);
        for (var c = 0; c < _stable.Length; c++)
            _stable[c] = !char.IsSurrogate((char)c) && _data.ClassOf(c) == 0;
        for (var c = 0xA0; c < _stable.Length; c++)
        {
            var syllable = IsSyllable(c);
            if (syllable ? !composes : _data.Decomposition(c, compatible) is not null)
                _stable[c] = false;
            if (composes && _data.CanBeSecond(c))
                _stable[c] = false;
        }

        if (composes)
            RestoreComposed();
    }

    /// <summary>The normaliser of a form named as in tokenizer.json: NFC, NFD, NFKC, NFKD.</summary>
    public static UnicodeNormalizer OfForm(string form) =>
        new(form.Contains('K', StringComparison.Ordinal), form.EndsWith('C'));

    public string Normalize(string text)
    {
        var unstable = NextUnstable(text, 0);
        if (unstable == text.Length)
            return text;
        var result = new StringBuilder(text.Length + 16);
        var codePoints = new List<int>();
        Span<char> pair = stackalloc char[2];
        var done = 0;
        while (unstable < text.Length)
        {
            // The character before may be composed with, so the work starts at it; it ends before the next stable one.
            var start = Math.Max(done, unstable - 1);
            if (start > done && char.IsLowSurrogate(text[start]))
                start--;
            var end = NextStable(text, unstable);
            result.Append(text, done, start - done);
            codePoints.Clear();
            Decompose(text.AsSpan(start, end - start), codePoints);
            var count = _composes ? Compose(codePoints) : codePoints.Count;
            for (var i = 0; i < count; i++)
                result.Append(pair[..new Rune(codePoints[i]).EncodeToUtf16(pair)]);
            done = end;
            unstable = NextUnstable(text, end);
        }

        return result.Append(text, done, text.Length - done).ToString();
    }

    private int NextUnstable(string text, int at)
    {
        while (at < text.Length && StableLength(text, at) is > 0 and var length)
            at += length;
        return at;
    }

    private int NextStable(string text, int at)
    {
        while (at < text.Length && StableLength(text, at) == 0)
            at += char.IsSurrogatePair(text, at) ? 2 : 1;
        return at;
    }

    // How many characters of UTF-16 the stable code point at a place takes; 0 where the code point is not stable.
    private int StableLength(string text, int at)
    {
        if (_stable[text[at]])
            return 1;
        if (!char.IsHighSurrogate(text[at]) || at + 1 == text.Length || !char.IsLowSurrogate(text[at + 1]))
            return 0;
        var codePoint = char.ConvertToUtf32(text[at], text[at + 1]);
        var changes = _data.ClassOf(codePoint) != 0 || _data.Decomposition(codePoint, _compatible) is not null
            || _composes && _data.CanBeSecond(codePoint);
        return changes ? 0 : 2;
    }

    // Precomposed letters have a decomposition, but composing gives them back unless something follows.
    private void RestoreComposed()
    {
        for (var c = 0xA0; c < _stable.Length; c++)
        {
            if (_stable[c] || char.IsSurrogate((char)c) || _data.ClassOf(c) != 0 || _data.CanBeSecond(c) || IsSyllable(c))
                continue;
            var parts = _data.Decomposition(c, _compatible);
            if (parts is null)
                continue;
            var composed = new List<int>(parts);
            _stable[c] = Compose(composed) == 1 && composed[0] == c;
        }
    }

    private void Decompose(ReadOnlySpan<char> text, List<int> codePoints)
    {
        // Where the current run of combining marks starts; marks are put in order of class when it ends.
        var marks = 0;
        foreach (var rune in text.EnumerateRunes())
        {
            var codePoint = rune.Value;
            var index = codePoint - SyllableBase;
            if (IsSyllable(codePoint))
            {
                Sort(codePoints, marks);
                codePoints.Add(LeadBase + index / (VowelCount * TailCount));
                codePoints.Add(VowelBase + index % (VowelCount * TailCount) / TailCount);
                if (index % TailCount != 0)
                    codePoints.Add(TailBase + index % TailCount);
                marks = codePoints.Count;
            }
            else if (_data.Decomposition(codePoint, _compatible) is { } parts)
            {
                foreach (var part in parts)
                    marks = Append(codePoints, part, marks);
            }
            else
            {
                marks = Append(codePoints, codePoint, marks);
            }
        }

        Sort(codePoints, marks);
    }

    private int Append(List<int> codePoints, int codePoint, int marks)
    {
        if (_data.ClassOf(codePoint) != 0)
        {
            codePoints.Add(codePoint);
            return marks;
        }

        Sort(codePoints, marks);
        codePoints.Add(codePoint);
        return codePoints.Count;
    }

    private void Sort(List<int> codePoints, int from)
    {
        var count = codePoints.Count - from;
        if (count > 1)
        {
            // Stable: marks of one class keep their order.
            var ordered = codePoints.Skip(from).OrderBy(_data.ClassOf).ToArray();
            for (var i = 0; i < count; i++)
                codePoints[from + i] = ordered[i];
        }
    }

    // In place; returns how many code points are left.
    private int Compose(List<int> codePoints)
    {
        var starter = -1;
        var lastClass = 0;
        var kept = 0;
        foreach (var codePoint in codePoints.ToArray())
        {
            var ownClass = _data.ClassOf(codePoint);
            // Blocked when a mark of the same or a higher class stands between; lastClass is -1 right behind the
            // starter.
            if (starter >= 0 && lastClass < ownClass || starter >= 0 && lastClass == -1)
            {
                var composed = ComposePair(codePoints[starter], codePoint);
                if (composed >= 0)
                {
                    codePoints[starter] = composed;
                    continue;
                }
            }

            if (ownClass == 0)
                starter = kept;
            lastClass = ownClass == 0 ? -1 : ownClass;
            codePoints[kept++] = codePoint;
        }

        return kept;
    }

    private int ComposePair(int first, int second)
    {
        if (first is >= LeadBase and < LeadBase + LeadCount && second is >= VowelBase and < VowelBase + VowelCount)
            return SyllableBase + ((first - LeadBase) * VowelCount + second - VowelBase) * TailCount;
        if (IsSyllable(first) && (first - SyllableBase) % TailCount == 0 && second is > TailBase and < TailBase + TailCount)
            return first + second - TailBase;
        return _data.Compose(first, second);
    }

    private static bool IsSyllable(int codePoint) => (uint)(codePoint - SyllableBase) < SyllableCount;
}
