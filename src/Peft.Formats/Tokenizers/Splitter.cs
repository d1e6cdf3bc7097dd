namespace Peft.Formats.Tokenizers;

/// <summary>What becomes of the matches of a splitting pattern.</summary>
internal enum SplitBehavior
{
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// <summary>
/// Gathers the matches of a pattern over one piece, in order, and hands out the parts that a behaviour makes of them.
/// Parts between matches count as "not matched"; which of the two kinds is the separator can be inverted.
/// </summary>
internal ref struct Splitter(Piece piece, SplitBehavior behavior, bool invert, List<Piece> parts)
{
    private readonly int _first = parts.Count;
    private int _seen;
    private bool _lastMatched;
    // MergedWithNext: start of a separator that waits for its neighbour, or -1.
    private int _waiting = -1;

    public void Match(int start, int end)
    {
        if (start > _seen)
            Segment(_seen, start, invert);
        if (end > start)
            Segment(start, end, !invert);
        _seen = end;
    }

    public void Finish()
    {
        if (_seen < piece.Length)
            Segment(_seen, piece.Length, invert);
        if (_waiting >= 0)
            parts.Add(piece.Part(_waiting, piece.Length));
    }

    private void Segment(int start, int end, bool matched)
    {
        switch (behavior)
        {
            case SplitBehavior.Removed when matched:
                break;
            case SplitBehavior.Contiguous when parts.Count > _first && matched == _lastMatched:
            case SplitBehavior.MergedWithPrevious when parts.Count > _first && matched && !_lastMatched:
                parts[^1] = parts[^1] with { Length = parts[^1].Length + end - start };
                break;
            case SplitBehavior.MergedWithNext:
                MergeWithNext(start, end, matched);
                break;
            default:
                parts.Add(piece.Part(start, end));
                break;
        }

        _lastMatched = matched;
    }

    // A separator joins what follows it, unless that is a separator too.
    private void MergeWithNext(int start, int end, bool matched)
    {
        if (matched)
        {
            if (_waiting >= 0)
                parts.Add(piece.Part(_waiting, start));
            _waiting = start;
            return;
        }

        parts.Add(piece.Part(_waiting >= 0 ? _waiting : start, end));
        _waiting = -1;
    }
}
