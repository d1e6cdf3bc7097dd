namespace Peft.Formats.Safetensors;

/// <summary>Where a tensor lies and what it is. Row-major, little-endian.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Dtype">Element type.</param>
/// <param name="Shape">Sizes; empty for a single value.</param>
/// <param name="FilePath">The file that holds it.</param>
/// <param name="Offset">First byte, counted from the beginning of the file.</param>
/// <param name="ByteCount">Bytes, exactly the shape times the element size.</param>
public sealed record SafetensorsEntry(
    string Name, SafetensorsDtype Dtype, IReadOnlyList<long> Shape, string FilePath, long Offset, long ByteCount);
