using System.Text.Json;
using Peft.Cli.Tests.Support;
using Peft.Formats.Safetensors;

namespace Peft.Cli.Tests;

/// <summary>Against numbers that transformers and Hugging Face PEFT wrote (tests/golden/models).</summary>
public sealed class LogitsTests : IDisposable
{
    private const double Tolerance = 1e-4;

    private readonly TempFolder _folder = new();

    [Theory]
    [InlineData("llama-gqa")]
    [InlineData("qwen2-tied")]
    public void Logits_of_the_base_and_of_a_peft_adapter_are_those_of_the_python_libraries(string name) =>
        Compare(Golden(name));

    [SharedTheory]
    [InlineData("gpt2")]
    [InlineData("gemma3-text")]
    [InlineData("qwen2-moe-gates")]
    [InlineData("falcon-new")]
    [InlineData("phi4mini-longrope")]
    public void Those_of_other_families_are_too(string name) => Compare(SharedAssets.Path("vectors", "models-2", name));

    private void Compare(string model)
    {
        var expected = SafetensorsFile.Open(Path.Combine(model, "expected.safetensors"));
        var (rows, length) = (expected.Entries["ids"].Shape[0], (int)expected.Entries["ids"].Shape[1]);
        Assert.Equal(2, rows);
        // The program takes one sequence: the first row of the two.
        var ids = string.Join(',', Numbers<long>(expected, "ids").Take(length));

        PeftProcess.Run(_folder, "logits", "--base", model, "--ids", ids, "--dtype", "float32", "--output",
            "base.json").Succeeds();
        PeftProcess.Run(_folder, "logits", "--base", model, "--adapter", Path.Combine(model, "adapter"), "--ids", ids,
            "--output", "adapter.json")
            .Succeeds();

        AssertNear(Numbers<float>(expected, "base.logits"), "base.json", length);
        AssertNear(Numbers<float>(expected, "adapter.logits"), "adapter.json", length);
    }

    [Theory]
    [InlineData("1,x", "'x' is not a token id")]
    [InlineData("1,-2", "'-2' is not a token id")]
    [InlineData(",", "--ids: no id; expected token ids separated by commas, such as 1,15,7.")]
    public void Malformed_ids_are_refused(string ids, string message) =>
        Refused(["--base", Golden("llama-gqa"), "--ids", ids], message);

    [Fact]
    public void Ids_outside_the_vocabulary_are_refused() =>
        Refused(["--base", Golden("llama-gqa"), "--ids", "1,96"], "96", "0 to 95");

    [Fact]
    public void More_ids_than_the_context_are_refused() =>
        Refused(["--base", Golden("llama-gqa"), "--ids", string.Join(',', Enumerable.Repeat(1, 129))],
            "--ids: 129 ids; expected at most 128, the length of the model's context.");

    [Fact]
    public void Missing_models_and_unknown_devices_are_refused()
    {
        Refused(["--base", "nowhere", "--ids", "1"], "nowhere", "no such directory");
        Refused(["--adapter", Path.Combine(Golden("llama-gqa"), "adapter"), "--ids", "1"],
            "does not name its base model", "--base DIR");
        Refused(["--ids", "1"], "--base: missing");
        Refused(["--base", Golden("llama-gqa"), "--ids", "1", "--device", "gpu"],
            "--device: 'gpu'; expected auto, cpu or cuda:N.",
            "auto, cpu or cuda:N");
    }

    public void Dispose() => _folder.Dispose();

    private static string Golden(string name) =>
        Path.Combine(SharedAssets.Repository, "tests", "golden", "models", name);

    private void Refused(string[] words, params string[] parts)
    {
        PeftProcess.Run(_folder, ["logits", .. words, "--output", "out.json"]).IsRefused(parts);
        Assert.Equal("", _folder.Snapshot());
    }

    // Two rows were computed together; the first half is the first row.
    private void AssertNear(float[] expected, string file, int length)
    {
        using var written = JsonDocument.Parse(File.ReadAllText(_folder[file]));
        var shape = written.RootElement.GetProperty("shape").EnumerateArray().Select(n => n.GetInt32()).ToArray();
        Assert.Equal([length, 96], shape);
        var found = written.RootElement.GetProperty("logits").EnumerateArray().SelectMany(row => row.EnumerateArray())
            .Select(value => value.GetDouble()).ToArray();
        Assert.Equal(length * 96, found.Length);
        Assert.InRange(found.Zip(expected, (f, e) => Math.Abs(f - e)).Max(), 0, Tolerance);
    }

    private static T[] Numbers<T>(SafetensorsFile file, string name) where T : unmanaged =>
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, T>(file.ReadBytes(name)).ToArray();
}
