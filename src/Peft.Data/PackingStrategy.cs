namespace Peft.Data;

/// <summary>How sequences share rows.</summary>
public enum PackingStrategy
{
    /// <summary>Whole sequences side by side in rows of at most <c>max_length</c>, best fit, the longest first; none sees its
    /// neighbours.</summary>
    Bfd,

    /// <summary>Plain texts one after the other, cut into blocks of <c>max_length</c>; attention sees the whole block.</summary>
    Wrapped,
}
