namespace Peft.Formats.Tokenizers.Models;

/// <summary>The settings of a WordPiece model beside its vocabulary.</summary>
/// <param name="UnknownId">The id of a word that no tokens make up.</param>
/// <param name="Prefix">What a token that goes on in a word begins with.</param>
/// <param name="LongestWord">A word of more characters is unknown.</param>
internal sealed record WordPieceRules(int UnknownId, string Prefix, int LongestWord)
{
    /// <summary>Looking for pieces takes the cube of a word's length, so a file may not ask for more.</summary>
    public const int MostCharacters = 256;
}
