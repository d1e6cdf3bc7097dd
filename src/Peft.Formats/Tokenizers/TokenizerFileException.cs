namespace Peft.Formats.Tokenizers;

/// <summary>A tokenizer file that is damaged, contradicts itself, or asks for a part that is not supported.</summary>
public sealed class TokenizerFileException : UserException
{
    /// <summary>Makes the error with its full text.</summary>
    public TokenizerFileException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public TokenizerFileException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
