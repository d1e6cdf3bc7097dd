namespace Peft.Data;

/// <summary>Which bytes a run was trained on.</summary>
/// <param name="File">The file, as the recipe names it.</param>
/// <param name="Sha256">Hash of its bytes, lower-case hex; of a large file that is streamed <c>sampled-</c> and a hash of its size and samples.</param>
/// <param name="Bytes">Its size.</param>
public sealed record DataFileHash(string File, string Sha256, long Bytes);
