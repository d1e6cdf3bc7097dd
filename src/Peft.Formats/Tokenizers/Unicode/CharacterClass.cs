namespace Peft.Formats.Tokenizers.Unicode;

/// <summary>The four classes into which the known pre-tokenizer patterns divide all characters.</summary>
internal enum CharacterClass : byte
{
    Other,
    Letter,
    Number,
    Space,
}
