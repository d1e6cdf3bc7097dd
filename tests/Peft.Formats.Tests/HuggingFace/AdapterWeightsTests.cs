using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;

namespace Peft.Formats.Tests.HuggingFace;

public sealed class AdapterWeightsTests : IDisposable
{
    private const string Module = "base_model.model.model.layers.0.self_attn.q_proj";
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private SafetensorsCheckpoint Open(params string[] names)
    {
        SafetensorsWriter.WriteFile(
            _folder.At(AdapterWeights.FileName),
            [.. names.Select(
                name => new SafetensorsWrite(name, SafetensorsDtype.U8, [1], stream => stream.WriteByte(1)))]);
        return AdapterWeights.Open(_folder.Path);
    }

    [Theory]
    [InlineData(Module + ".lora_A.default.weight", Module + ".lora_A.weight")]
    [InlineData(Module + ".lora_B.my-adapter.weight", Module + ".lora_B.weight")]
    [InlineData(Module + ".lora_A.weight", Module + ".lora_A.weight")]
    [InlineData(Module + ".lora_A.experts", Module + ".lora_A.experts")]
    [InlineData(Module + ".base_layer.weight", Module + ".base_layer.weight")]
    [InlineData(Module + ".lora_magnitude_vector", Module + ".lora_magnitude_vector")]
    [InlineData(Module + ".lora_magnitude_vector.weight", Module + ".lora_magnitude_vector")]
    [InlineData(Module + ".lora_magnitude_vector.default", Module + ".lora_magnitude_vector")]
    [InlineData(Module + ".lora_magnitude_vector.default.weight", Module + ".lora_magnitude_vector")]
    public void The_name_of_the_adapter_is_taken_out_of_the_keys(string stored, string read)
    {
        var entry = Assert.Single(Open(stored).Entries);
        Assert.Equal((read, read), (entry.Key, entry.Value.Name));
    }

    [Fact]
    public void Two_adapters_in_one_file_are_refused() => Assert.Equal(
        "DIR/adapter_model.safetensors: tensors of 2 adapters ('default' and 'other'); expected those of one adapter. "
            + "Save each by itself with PEFT's save_pretrained(selected_adapters=[...]).",
        _folder.Message<UserException>(() => Open(Module + ".lora_A.default.weight", Module + ".lora_A.other.weight")));

    [Fact]
    public void Magnitudes_belong_to_the_adapter_of_their_file() => Assert.Equal(
        [Module + ".lora_A.weight", Module + ".lora_magnitude_vector"],
        Open(Module + ".lora_A.default.weight", Module + ".lora_magnitude_vector.weight").Entries.Keys.Order());

    [Fact]
    public void The_same_tensor_under_both_names_is_refused() => Assert.Equal(
        $"DIR/adapter_model.safetensors: both '{Module}.lora_A.default.weight' and '{Module}.lora_A.weight'; "
            + "expected one of the two. Save the adapter again with PEFT's save_pretrained.",
        _folder.Message<UserException>(() => Open(Module + ".lora_A.default.weight", Module + ".lora_A.weight")));
}
