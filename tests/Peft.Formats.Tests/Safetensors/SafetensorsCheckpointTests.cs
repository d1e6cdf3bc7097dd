using Peft.Formats.Safetensors;

namespace Peft.Formats.Tests.Safetensors;

public sealed class SafetensorsCheckpointTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private void Shard(string name, params string[] tensors) => SafetensorsWriter.WriteFile(
        _folder.At(name),
        [.. tensors.Select(
            tensor => new SafetensorsWrite(tensor, SafetensorsDtype.U8, [1], stream => stream.WriteByte(1)))]);

    private void Index(string weightMap) =>
        _folder.Put(
            "model.safetensors.index.json", $"{{\"metadata\":{{\"total_size\":2}},\n\"weight_map\":{weightMap}}}");

    private string MessageOf() => _folder.Message<UserException>(() => SafetensorsCheckpoint.Open(_folder.Path));

    [Fact]
    public void Shards_are_read_as_the_index_names_them()
    {
        Shard("b.safetensors", "y", "unnamed");
        Shard("a.safetensors", "x");
        Index("{\"y\":\"b.safetensors\",\"x\":\"a.safetensors\"}");
        var checkpoint = SafetensorsCheckpoint.Open(_folder.Path);
        Assert.Equal([_folder.At("a.safetensors"), _folder.At("b.safetensors")], checkpoint.Files);
        Assert.Equal(["x", "y"], checkpoint.Entries.Keys.Order());
        Assert.Equal(_folder.At("b.safetensors"), checkpoint.Entries["y"].FilePath);
    }

    [Fact]
    public void A_single_file_comes_before_an_index()
    {
        Shard("adapter_model.safetensors", "x");
        _folder.Put("adapter_model.safetensors.index.json", "{}");
        _folder.Put("adapter_model.bin", "");
        var checkpoint = SafetensorsCheckpoint.Open(_folder.Path, "adapter_model.safetensors");
        Assert.Equal(["x"], checkpoint.Entries.Keys);
        Assert.Single(checkpoint.Files);
    }

    [Fact]
    public void A_missing_shard_or_tensor_is_told()
    {
        Index("{\"x\":\"a.safetensors\"}");
        Assert.Equal(
            "DIR/model.safetensors.index.json: shard 'a.safetensors' is missing. Copy or download it too.",
                MessageOf());
        Shard("a.safetensors", "other");
        Assert.Equal(
            "DIR/model.safetensors.index.json:2: a.safetensors holds no tensor 'x'. "
                + "Copy or download index and shards again, from one revision.",
            MessageOf());
    }

    [Theory]
    [InlineData("\"../a.safetensors\"", "'../a.safetensors'")]
    [InlineData("\"/etc/a.safetensors\"", "'/etc/a.safetensors'")]
    [InlineData("\"x/../../a.safetensors\"", "'x/../../a.safetensors'")]
    [InlineData("\"..\\\\a.safetensors\"", "'..\\a.safetensors'")]
    [InlineData("\"C:a.safetensors\"", "'C:a.safetensors'")]
    [InlineData("\"a\\u0000.safetensors\"", "'a\\u0000.safetensors'")]
    [InlineData("\"a.bin\"", "'a.bin'")]
    [InlineData("\"\"", "''")]
    [InlineData("3", "3")]
    [InlineData("null", "null")]
    [InlineData("[]", "an empty list")]
    public void A_shard_outside_the_directory_is_refused(string file, string shown)
    {
        Index($"{{\"x\":{file}}}");
        Assert.Equal(
            $"DIR/model.safetensors.index.json:2: tensor 'x': its file is {shown}; "
                + "expected the name of a .safetensors file inside the directory. "
                + "Do not use this checkpoint unless you know who made it.",
            MessageOf());
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("3")]
    public void An_index_without_map_is_refused(string map)
    {
        Index(map);
        Assert.Equal(
            "DIR/model.safetensors.index.json: no weight_map; expected an object that names the file of each tensor. "
                + "Copy or download the index again.",
            MessageOf());
    }

    [Theory]
    [InlineData("pytorch_model.bin")]
    [InlineData("consolidated.00.pth")]
    [InlineData("model.pt")]
    [InlineData("model.PKL")]
    [InlineData("last.ckpt")]
    public void Pickled_weights_are_refused_with_the_way_to_convert(string name)
    {
        _folder.Put(name, "");
        Assert.Equal(
            $"DIR/{name}: pickled weights, which can run code when they are loaded; expected model.safetensors. "
                + "If you trust the file, convert it once in Python: load it with transformers or PEFT and call "
                + "save_pretrained(\"NEW_DIRECTORY\", safe_serialization=True).",
            MessageOf());
    }

    [Fact]
    public void A_shard_that_is_a_link_out_of_the_directory_is_refused()
    {
        using var elsewhere = new TempFolder();
        SafetensorsWriter.WriteFile(
            elsewhere.At("a.safetensors"), [new("x", SafetensorsDtype.U8, [1], stream => stream.WriteByte(1))]);
        File.CreateSymbolicLink(_folder.At("a.safetensors"), elsewhere.At("a.safetensors"));
        Index("{\"x\":\"a.safetensors\"}");
        Assert.Equal(
            $"DIR/model.safetensors.index.json: shard 'a.safetensors' is a link to '{elsewhere.At("a.safetensors")}'; "
                + "expected a file in DIR. If you trust it, copy that file over the link.",
            MessageOf());

        File.Delete(_folder.At("a.safetensors"));
        Directory.CreateSymbolicLink(_folder.At("sub"), elsewhere.Path);
        Index("{\"x\":\"sub/a.safetensors\"}");
        Assert.Contains("'sub/a.safetensors' is a link to", MessageOf(), StringComparison.Ordinal);
    }

    [Fact]
    public void Links_inside_the_directory_and_those_of_the_hubs_cache_are_followed()
    {
        Shard("real.safetensors", "x");
        File.CreateSymbolicLink(_folder.At("a.safetensors"), "real.safetensors");
        Index("{\"x\":\"a.safetensors\"}");
        Assert.Equal(["x"], SafetensorsCheckpoint.Open(_folder.Path).Entries.Keys);

        Directory.CreateDirectory(_folder.At("cache", "snapshots", "0123"));
        Directory.CreateDirectory(_folder.At("cache", "blobs"));
        foreach (var name in new[] { "real.safetensors", "model.safetensors.index.json" })
            File.Copy(_folder.At(name), _folder.At("cache", "blobs", name));
        File.CreateSymbolicLink(
            _folder.At("cache", "snapshots", "0123", "a.safetensors"), "../../blobs/real.safetensors");
        File.CreateSymbolicLink(
            _folder.At("cache", "snapshots", "0123", "model.safetensors.index.json"),
            "../../blobs/model.safetensors.index.json");
        Assert.Equal(["x"], SafetensorsCheckpoint.Open(_folder.At("cache", "snapshots", "0123")).Entries.Keys);
    }

    [Fact]
    public void A_directory_without_weights_is_told()
    {
        Assert.Equal(
            "DIR: no weights; expected model.safetensors, or model.safetensors.index.json with its shards. Check the "
                + "path.", MessageOf());
        Assert.Equal(
            "DIR/none: no such directory; expected a directory that holds model.safetensors. Check the path.",
            _folder.Message<UserException>(() => SafetensorsCheckpoint.Open(_folder.At("none"))));
        Assert.Equal(
            "DIR/f: is a file, not a directory; expected a directory that holds model.safetensors. Check the path.",
            _folder.Message<UserException>(() => SafetensorsCheckpoint.Open(_folder.Put("f", ""))));
    }

    [SharedFact]
    public void Every_checkpoint_of_the_vectors_opens()
    {
        foreach (var directory in Directory.GetDirectories(SharedAssets.Path("vectors", "models")))
        {
            Assert.NotEmpty(SafetensorsCheckpoint.Open(directory).Entries);
            Assert.NotEmpty(
                SafetensorsCheckpoint.Open(Path.Combine(directory, "adapter"), "adapter_model.safetensors").Entries);
        }
    }
}
