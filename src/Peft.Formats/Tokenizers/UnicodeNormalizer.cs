using System.Runtime.InteropServices;
using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>Unicode normalisation forms C, D, KC and KD, in time linear in the text.</summary>
internal sealed class UnicodeNormalizer
{
    private const int SyllableBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int LeadCount = 19, VowelCount = 21, TailCount = 28;
    private const int SyllableCount = LeadCount * VowelCount * TailCount;

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

    public string Normalize(string text) => Normalize(new SourceText(text, isTracked: false)).Text;

    /// <summary>The same; a composed character counts as made from all that it was composed of.</summary>
    public SourceText Normalize(SourceText source)
    {
        var text = source.Text;
        var unstable = NextUnstable(text, 0);
        if (unstable == text.Length)
            return source;
        var result = new SourceTextBuilder(source);
        var codePoints = new List<CodePoint>();
        var done = 0;
        while (unstable < text.Length)
        {
            // The character before may be composed with, so the work starts at it; it ends before the next stable one.
            var start = Math.Max(done, unstable - 1);
            if (start > done && char.IsLowSurrogate(text[start]))
                start--;
            var end = NextStable(text, unstable);
            result.Keep(done, start);
            codePoints.Clear();
            Decompose(text, start, end, codePoints);
            var count = _composes ? Compose(codePoints) : codePoints.Count;
            if (source.IsTracked)
                PutInOrder(CollectionsMarshal.AsSpan(codePoints)[..count]);
            for (var i = 0; i < count; i++)
                result.Add(new Rune(codePoints[i].Value), codePoints[i].Start, codePoints[i].End);
            done = end;
            unstable = NextUnstable(text, end);
        }

        result.Keep(done, text.Length);
        return result.ToText();
    }

    // Marks that changed places, or that a later one was composed past, come from wider parts, so that parts stay in
    // order.
    private static void PutInOrder(Span<CodePoint> codePoints)
    {
        for (var i = 1; i < codePoints.Length; i++)
            codePoints[i] = codePoints[i] with { End = Math.Max(codePoints[i - 1].End, codePoints[i].End) };
        for (var i = codePoints.Length - 2; i >= 0; i--)
            codePoints[i] = codePoints[i] with { Start = Math.Min(codePoints[i + 1].Start, codePoints[i].Start) };
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
            if (_stable[c] || char.IsSurrogate((char)c) || _data.ClassOf(c) != 0 || _data.CanBeSecond(c)
                || IsSyllable(c))
                continue;
            var parts = _data.Decomposition(c, _compatible);
            if (parts is null)
                continue;
            var composed = parts.Select(part => new CodePoint(part, 0, 0)).ToList();
            _stable[c] = Compose(composed) == 1 && composed[0].Value == c;
        }
    }

    private void Decompose(string text, int start, int end, List<CodePoint> codePoints)
    {
        // Where the current run of combining marks starts; marks are put in order of class when it ends.
        var marks = 0;
        foreach (var rune in text.AsSpan(start, end - start).EnumerateRunes())
        {
            var from = start;
            start += rune.Utf16SequenceLength;
            var codePoint = rune.Value;
            var index = codePoint - SyllableBase;
            if (IsSyllable(codePoint))
            {
                Sort(codePoints, marks);
                codePoints.Add(new CodePoint(LeadBase + index / (VowelCount * TailCount), from, start));
                codePoints.Add(new CodePoint(VowelBase + index % (VowelCount * TailCount) / TailCount, from, start));
                if (index % TailCount != 0)
                    codePoints.Add(new CodePoint(TailBase + index % TailCount, from, start));
                marks = codePoints.Count;
            }
            else if (_data.Decomposition(codePoint, _compatible) is { } parts)
            {
                foreach (var part in parts)
                    marks = Append(codePoints, new CodePoint(part, from, start), marks);
            }
            else
            {
                marks = Append(codePoints, new CodePoint(codePoint, from, start), marks);
            }
        }

        Sort(codePoints, marks);
    }

    private int Append(List<CodePoint> codePoints, CodePoint codePoint, int marks)
    {
        if (_data.ClassOf(codePoint.Value) != 0)
        {
            codePoints.Add(codePoint);
            return marks;
        }

        Sort(codePoints, marks);
        codePoints.Add(codePoint);
        return codePoints.Count;
    }

    private void Sort(List<CodePoint> codePoints, int from)
    {
        var count = codePoints.Count - from;
        if (count > 1)
        {
            // Stable: marks of one class keep their order.
            var ordered = codePoints.Skip(from).OrderBy(codePoint => _data.ClassOf(codePoint.Value)).ToArray();
            for (var i = 0; i < count; i++)
                codePoints[from + i] = ordered[i];
        }
    }

    // In place; returns how many code points are left.
    private int Compose(List<CodePoint> codePoints)
    {
        var starter = -1;
        var lastClass = 0;
        var kept = 0;
        foreach (var codePoint in codePoints.ToArray())
        {
            var ownClass = _data.ClassOf(codePoint.Value);
            // Blocked when a mark of the same or a higher class lies between; lastClass is -1 right behind the
            // starter.
            if (starter >= 0 && lastClass < ownClass || starter >= 0 && lastClass == -1)
            {
                var composed = ComposePair(codePoints[starter].Value, codePoint.Value);
                if (composed >= 0)
                {
                    var (_, start, end) = codePoints[starter];
                    codePoints[starter] = new CodePoint(composed, start, Math.Max(end, codePoint.End));
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
        if (IsSyllable(first) && (first - SyllableBase) % TailCount == 0
            && second is > TailBase and < TailBase + TailCount)
            return first + second - TailBase;
        return _data.Compose(first, second);
    }

    private static bool IsSyllable(int codePoint) => (uint)(codePoint - SyllableBase) < SyllableCount;

    /// <summary>A code point and the characters of the text that it was made from.</summary>
    private readonly record struct CodePoint(int Value, int Start, int End);
}
