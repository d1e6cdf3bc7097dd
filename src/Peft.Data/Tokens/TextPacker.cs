using Peft.Formats.Tokenizers;

namespace Peft.Data.Tokens;

/// <summary>
/// Wrapped packing for language modelling: texts one after the other, each ended by EOS, cut into blocks of <c>max_length</c>. Each
/// block begins with the tokenizer's prefix; nothing is lost, the last block may be short. Attention sees the whole block.
/// </summary>
internal sealed class TextPacker(TextEncoder encoder, int maxLength, bool addEos)
{
    private readonly List<int> _block = [.. encoder.Prefix];
    private (int TaskId, int FileId, long Row) _origin;

    /// <summary>Adds a text and gives the blocks that it fills.</summary>
    public IEnumerable<EncodedSequence> Add(string text, int taskId, int fileId, long row)
    {
        var ids = encoder.Encode(text);
        var count = ids.Count + (addEos && encoder.EndId is not null ? 1 : 0);
        for (var at = 0; at < count; at++)
        {
            if (_block.Count == encoder.Prefix.Count)
                _origin = (taskId, fileId, row);
            _block.Add(at < ids.Count ? ids[at] : encoder.EndId!.Value);
            if (_block.Count == maxLength)
                yield return Take();
        }
    }

    /// <summary>The last block, when it has anything to learn.</summary>
    public EncodedSequence? Finish() => _block.Count > Math.Max(1, encoder.Prefix.Count) ? Take() : null;

    private EncodedSequence Take()
    {
        var block = new EncodedSequence([.. _block], 1, _origin.TaskId, _origin.FileId, _origin.Row, 0);
        _block.Clear();
        _block.AddRange(encoder.Prefix);
        return block;
    }
}
