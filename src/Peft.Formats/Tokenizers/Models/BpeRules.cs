namespace Peft.Formats.Tokenizers.Models;

/// <summary>The settings of a BPE model beside vocabulary and merges.</summary>
/// <param name="UnknownId">The id for characters that are not in the vocabulary; null leaves them out.</param>
/// <param name="FuseUnknown">Whether neighbouring unknown characters become one token.</param>
/// <param name="ByteFallback">
/// Whether an unknown character is first tried as the tokens &lt;0x00&gt; to &lt;0xFF&gt; of its bytes.
/// </param>
/// <param name="IgnoreMerges">Whether a word that is in the vocabulary as a whole is taken without merging.</param>
internal sealed record BpeRules(int? UnknownId, bool FuseUnknown, bool ByteFallback, bool IgnoreMerges);
