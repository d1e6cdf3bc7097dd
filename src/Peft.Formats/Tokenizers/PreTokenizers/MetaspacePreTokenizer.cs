namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>Where Metaspace puts its mark before a text.</summary>
internal enum PrependScheme
{
    Always,
    First,
    Never,
}

/// <summary>"Metaspace": spaces become a visible mark, and each word begins with one.</summary>
internal sealed class MetaspacePreTokenizer(string replacement, PrependScheme scheme, bool splits) : IPreTokenizer
{
    public void Split(Piece piece, List<Piece> parts)
    {
        var text = piece.ToString().Replace(" ", replacement, StringComparison.Ordinal);
        var prepends = scheme == PrependScheme.Always || scheme == PrependScheme.First && piece.IsAtStart;
        if (prepends && text.Length > 0 && !text.StartsWith(replacement, StringComparison.Ordinal))
            text = replacement + text;
        if (!splits)
        {
            if (text.Length > 0)
                parts.Add(piece.With(text));
            return;
        }

        new StringSplit(replacement, SplitBehavior.MergedWithNext, invert: false).Split(piece.With(text), parts);
    }
}
