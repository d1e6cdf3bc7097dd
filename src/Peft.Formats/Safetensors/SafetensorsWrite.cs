namespace Peft.Formats.Safetensors;

/// <summary>A tensor to be written.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Dtype">Element type.</param>
/// <param name="Shape">Sizes; empty for a single value.</param>
/// <param name="WriteBytes">Writes exactly the tensor's bytes, row-major and little-endian, when its turn
/// comes.</param>
public sealed record SafetensorsWrite(
    string Name, SafetensorsDtype Dtype, IReadOnlyList<long> Shape, Action<Stream> WriteBytes);
