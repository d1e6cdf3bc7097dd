namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>Cuts a piece into words; merges never cross the cuts.</summary>
internal interface IPreTokenizer
{
    /// <summary>Adds the parts of <paramref name="piece"/> to <paramref name="parts"/>; never an empty one.</summary>
    void Split(Piece piece, List<Piece> parts);
}
