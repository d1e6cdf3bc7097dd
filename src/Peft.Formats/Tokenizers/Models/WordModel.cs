using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.Models;

/// <summary>
/// Turns words into ids. Immutable after construction; all working memory is in the <see cref="EncodeState"/>.
/// </summary>
internal abstract class WordModel(TokenVocabulary vocabulary)
{
    protected const int Missing = -1;

    public TokenVocabulary Vocabulary => vocabulary;

    /// <summary>Whether every byte has a token, so that byte-level words need no unknown-character rule.</summary>
    public virtual bool HasAllBytes => false;

    /// <summary>Done when the library has its part; results are the same before.</summary>
    public virtual Task Ready => Task.CompletedTask;

    /// <summary>Memory for one encoding call at a time.</summary>
    public virtual EncodeState NewState() => new(new MergeTable());

    /// <summary>Adds the ids of a byte-level word given as its UTF-8; needs <see cref="HasAllBytes"/>.</summary>
    public virtual void EncodeBytes(ReadOnlySpan<byte> word, EncodeState state) =>
        throw new InvalidOperationException("this model has no tokens for bytes");

    /// <summary>Adds the ids of a word of characters.</summary>
    public abstract void EncodeCharacters(ReadOnlySpan<char> word, EncodeState state);

    /// <summary>Adds where in a word of characters each of its ids lies, in the order of the ids.</summary>
    public abstract void Locate(ReadOnlySpan<char> word, ReadOnlySpan<int> ids, List<TextRange> places);
}
