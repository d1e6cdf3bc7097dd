namespace Peft.Formats.Tokenizers.Sources;

/// <summary>A part of a text.</summary>
/// <param name="Start">Its first character.</param>
/// <param name="End">The character behind its last.</param>
internal readonly record struct TextRange(int Start, int End);
