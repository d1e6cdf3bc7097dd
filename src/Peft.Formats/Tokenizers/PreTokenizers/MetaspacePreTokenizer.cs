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
        var source = piece.Own.Replace(" ", replacement);
        var prepends = scheme == PrependScheme.Always || scheme == PrependScheme.First && piece.IsAtStart;
        if (prepends && source.Text.Length > 0 && !source.Text.StartsWith(replacement, StringComparison.Ordinal))
            source = source.Prepend(replacement);
        if (!splits)
        {
            if (source.Text.Length > 0)
                parts.Add(piece.With(source));
            return;
        }

        new StringSplit(replacement, SplitBehavior.MergedWithNext, invert: false).Split(piece.With(source), parts);
    }
}
