using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>
/// What strangers' files and slips of the keyboard do to the built program: exit code 2, one message that says where,
/// what and what to
/// do, nothing written. Each family of faults once; the rooms' own tests have the rest.
/// </summary>
public sealed class HardKnockTests(TrainedBundle trained) : IClassFixture<TrainedBundle>, IDisposable
{
    private const string Weights = "model/model.safetensors";
    private readonly TempFolder _folder = new();

    [Theory]
    [InlineData("", "r.yaml has 1 fault", "model.model_name_or_path", "missing", "data/base")]
    [InlineData("\0\u0001\u0002 ELF", "r.yaml:1: the character NUL; expected text in YAML. Take it out.")]
    [InlineData("extends: r.yaml", "r.yaml: extends itself")]
    [InlineData("model: {model_name_or_path: org/name}\ndata: {train: [{files: x.jsonl, template: {text: \"{t}\"}}]}",
        "r.yaml has 1 fault", "model.model_name_or_path", "'org/name'", "Nothing is downloaded here",
        "hf download org/name")]
    public void A_recipe_that_is_none(string text, params string[] parts)
    {
        _folder.Write("r.yaml", text);
        Refused(["data", "r.yaml"], parts);
    }

    [Fact]
    public void A_directory_for_a_recipe()
    {
        Directory.CreateDirectory(_folder["r.yaml"]);
        Refused(["data", "r.yaml"], "r.yaml: is a directory, not a file. Check the path.");
    }

    [Theory]
    [InlineData("adapter.target_modules=[q_porj]", "'q_porj' matches no projection",
        "Did you mean q_proj?")]
    [InlineData("adapter={method: mixture, r: 65536, experts: {count: 4096}}", "4,096 experts of rank 65536",
        "of this machine", "Lower adapter.r")]
    public void An_adapter_that_cannot_be(string set, params string[] parts)
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2}"));
        Refused(["train", "r.yaml", "--set", set, "--output", "out"], parts);
        Assert.False(Directory.Exists(_folder["out"]));
    }

    [Theory]
    [InlineData("", "data.train[0].files", "rows.jsonl is empty", "a file with rows")]
    [InlineData("{\"question\": null, \"answer\": \"b\"}\n", "rows.jsonl:1: column 'question' is null or missing")]
    [InlineData("{\"question\": \"\u00ff\", \"answer\": \"b\"}\n", "rows.jsonl:1",
        "the line is not UTF-8")] // written as one byte
    public void Rows_that_cannot_be_used(string rows, params string[] parts)
    {
        File.WriteAllBytes(_folder["rows.jsonl"], Encoding.Latin1.GetBytes(rows));
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2}"));
        Refused(
            ["train", "r.yaml", "--output", "out", "--set",
                "data.train=[{files: rows.jsonl, template: {prompt: \"{question}\", answer: \"{answer}\"}}]"],
            parts);
    }

    [Theory]
    [InlineData("offsets", "tensor 'model.norm.weight'", "the end of the file", "copy or download the file again")]
    [InlineData("dtype", "tensor 'model.norm.weight'", "128 bytes", "64 bytes for shape [32] of F16")]
    [InlineData("shape", "the checkpoint, whose tensors must fit config.json, has 1 fault",
        "model.norm.weight  [4, 8]; expected [32].")]
    public void Weights_that_lie(string what, params string[] parts)
    {
        _folder.Copy(TinyBase.Model, "model");
        EditHeader(_folder[Weights], entry => entry[what == "offsets" ? "data_offsets" : what] = what switch
        {
            "offsets" => new JsonArray(1L << 60, (1L << 60) + 128),
            "dtype" => "F16",
            _ => new JsonArray(4, 8),
        });
        Refused(["logits", "--base", "model", "--ids", "1,2", "--output", "out.json"], [Weights[6..], .. parts]);
    }

    [Fact]
    public void A_directory_without_weights_and_a_config_of_impossible_sizes()
    {
        _folder.Copy(TinyBase.Model, "empty");
        File.Delete(_folder["empty/model.safetensors"]);
        Refused(["logits", "--base", "empty", "--ids", "1", "--output", "out.json"],
            "empty: no weights; expected model.safetensors, or");
        _folder.Write("empty/config.json", """{"model_type": "phi"}""");
        Refused(["logits", "--base", "empty", "--ids", "1", "--output", "out.json"],
            "empty/config.json: model_type is 'phi', which is not supported (unlike phi3,");
        _folder.Copy(TinyBase.Model, "model");
        var config = File.ReadAllText(_folder["model/config.json"]);
        _folder.Write("model/config.json",
            config.Replace("\"hidden_size\": 32", "\"hidden_size\": 1152921504606846976", StringComparison.Ordinal));
        Refused(
            ["logits", "--base", "model", "--ids", "1", "--output", "out.json"],
            "model/config.json has", "hidden_size", "1152921504606846976", "a whole number from 1 to 16777216");
    }

    [Fact]
    public void A_tokenizer_that_is_missing_or_larger_than_the_embedding()
    {
        _folder.Copy(TinyBase.Model, "model");
        var path = _folder["model/tokenizer.json"];
        var tokenizer = JsonNode.Parse(File.ReadAllText(path))!;
        File.Delete(path);
        Refused(["generate", "--base", "model", "--prompt", "the cat"], "model/tokenizer.json",
            "a directory with tokenizer.json");
        tokenizer["added_tokens"]!.AsArray().Add(
            new JsonObject { ["id"] = 5000, ["content"] = "the dog", ["normalized"] = false });
        File.WriteAllText(path, tokenizer.ToJsonString());
        Refused(["generate", "--base", "model", "--prompt", "the dog"], "5000", "ids from 0 to 287",
            "the tokenizer that belongs to the base model");
    }

    [Fact]
    public void A_bundle_of_another_base_with_a_link_or_with_tensors_that_are_no_numbers()
    {
        var bundle = trained.Folder["out"];
        _folder.Copy(TinyBase.Model, "model");
        EditData(_folder[Weights], data => data[0] ^= 1);
        Refused(["adapter", "verify", bundle, "--base", "model"], "trained on", "the base given is model",
            "Name the base it was trained on");

        _folder.Copy(bundle, "linked");
        File.Delete(_folder["linked/README.md"]);
        File.CreateSymbolicLink(_folder["linked/README.md"], Path.Combine(bundle, "README.md"));
        Refused(["adapter", "verify", "linked"], "README.md", "a link to", "a file in the directory itself");

        _folder.Copy(bundle, "nan");
        EditData(_folder["nan/adapter_model.safetensors"], data => data.AsSpan(0, 4).Fill(0xFF));
        var manifest = File.ReadAllText(_folder["nan/bundle.json"]);
        var was = Formats.Files.Sha256.OfFile(Path.Combine(bundle, "adapter_model.safetensors"));
        _folder.Write("nan/bundle.json",
            manifest.Replace(was, Formats.Files.Sha256.OfFile(_folder["nan/adapter_model.safetensors"]),
            StringComparison.Ordinal));
        Refused(["adapter", "verify", "nan"], "adapter_model.safetensors has 1 fault", "NaN or infinity",
            "take an earlier checkpoint");
    }

    public void Dispose() => _folder.Dispose();

    private void Refused(string[] words, params string[] parts)
    {
        var before = _folder.Snapshot();
        PeftProcess.Run(_folder, words).IsRefused(parts);
        Assert.Equal(before, _folder.Snapshot());
    }

    private static void EditHeader(string path, Action<JsonNode> edit)
    {
        var bytes = File.ReadAllBytes(path);
        var length = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        var header = JsonNode.Parse(bytes.AsSpan(8, length))!;
        edit(header["model.norm.weight"]!);
        var text = Encoding.UTF8.GetBytes(header.ToJsonString());
        var first = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(first, text.Length);
        File.WriteAllBytes(path, [.. first, .. text, .. bytes[(8 + length)..]]);
    }

    private static void EditData(string path, Action<byte[]> edit)
    {
        var bytes = File.ReadAllBytes(path);
        var start = 8 + (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        var data = bytes[start..];
        edit(data);
        File.WriteAllBytes(path, [.. bytes[..start], .. data]);
    }
}
