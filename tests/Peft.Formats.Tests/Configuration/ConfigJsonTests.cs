using System.Text;
using Peft.Formats.Configuration;
using Peft.Formats.Files;

namespace Peft.Formats.Tests.Configuration;

public sealed class ConfigJsonTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Values_keep_their_lines_order_and_spelling()
    {
        var map = ConfigJson.Parse("{\n \"b\": 1e-5,\n \"a\": {\n  \"x\": [true, null,\n \"8\"]\n }\n}", "f.json");

        Assert.Equal(["b", "a"], map.Keys);
        var number = Assert.IsType<ConfigScalar>(map["b"]);
        Assert.Equal(("1e-5", false, 2, "f.json"), (number.Text, number.IsQuoted, number.Line, number.Source));
        var list = Assert.IsType<ConfigList>(Assert.IsType<ConfigMap>(map["a"])["x"]);
        Assert.Equal([4, 4, 5], list.Items.Select(item => item.Line));
        Assert.True(Assert.IsType<ConfigScalar>(list.Items[1]).IsNull);
        Assert.True(Assert.IsType<ConfigScalar>(list.Items[2]).IsQuoted);
    }

    [Theory]
    [InlineData(
        "{\n \"a\": 1,\n \"b\": 2,\n \"a\": 3}",
        "f.json:4: key 'a' is already set on line 2. Remove one of the two.")]
    [InlineData("[1]", "f.json:1: begins with a list; expected one JSON object: { ... }.")]
    [InlineData("\"x\"", "f.json:1: begins with a text; expected one JSON object: { ... }.")]
    [InlineData("3", "f.json:1: begins with a number; expected one JSON object: { ... }.")]
    [InlineData("null", "f.json:1: begins with a bare word; expected one JSON object: { ... }.")]
    [InlineData(
        "{\n\"a\": 1,}",
        "f.json:2: not valid JSON: a comma before the closing bracket; expected strict JSON, without comments or "
            + "trailing "
            + "commas.")]
    [InlineData(
        "{\"a\": \"\\ud800\"}",
        "f.json:1: a text that is not valid Unicode; expected UTF-8, and \\u escapes that form whole characters. "
            + "Save the file as UTF-8.")]
    public void What_is_not_strict_JSON_is_refused(string json, string message) =>
        Assert.Equal(message, Assert.Throws<UserException>(() => ConfigJson.Parse(json, "f.json")).Message);

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("{\"a\"")]
    [InlineData("{\"a\": 1} 2")]
    [InlineData("{\"a\": NaN}")]
    [InlineData("{// c\n}")]
    public void Broken_JSON_is_a_typed_error(string json) =>
        Assert.Throws<UserException>(() => ConfigJson.Parse(json, "f.json"));

    [Fact]
    public void Deep_nesting_is_refused_and_does_not_overflow_the_stack()
    {
        var json = "{\"a\":" + new string('[', 100_000);
        Assert.Throws<UserException>(() => ConfigJson.Parse(json, "f.json"));
    }

    [Fact]
    public void Too_many_values_are_refused_before_they_fill_the_memory()
    {
        var json = "{\"a\":[" + string.Concat(Enumerable.Repeat("1,", 1_000_000)) + "1]}";
        Assert.Equal(
            "f.json:1: more than 1,000,000 values. Check that this is the right file.",
            Assert.Throws<UserException>(() => ConfigJson.Parse(json, "f.json")).Message);
    }

    [Fact]
    public void A_file_may_begin_with_a_byte_order_mark()
    {
        var path = _folder.Put("a.json", [0xEF, 0xBB, 0xBF, .. "{\"a\": 1}"u8]);
        Assert.Equal(1, ConfigJson.ReadFile(path).Count);
    }

    [Fact]
    public void Bytes_that_are_not_UTF8_are_refused() =>
        Assert.Throws<UserException>(
            () => ConfigJson.ReadFile(_folder.Put("a.json", [.. "{\"a\": \""u8, 0xFF, 0xFE, .. "\"}"u8])));

    [Fact]
    public void A_missing_file_is_named() => Assert.Equal(
        "DIR/none.json: no such file. Check the path.",
        _folder.Message<FileOperationException>(() => ConfigJson.ReadFile(_folder.At("none.json"))));

    [Fact]
    public void A_directory_is_no_file() => Assert.Equal(
        "DIR: is a directory, not a file. Check the path.",
        _folder.Message<FileOperationException>(() => ConfigJson.ReadFile(_folder.Path)));

    [Fact]
    public void A_huge_file_is_refused_before_it_is_read()
    {
        using (var stream = File.Create(_folder.At("huge.json")))
            stream.SetLength(1L << 33); // sparse: takes no room
        Assert.Equal(
            "DIR/huge.json: 8,589,934,592 bytes; expected at most 67,108,864 bytes. Check that this is the right file.",
            _folder.Message<FileOperationException>(() => ConfigJson.ReadFile(_folder.At("huge.json"))));
    }

    [Fact]
    public void Random_damage_never_gives_an_untyped_error()
    {
        var random = new Random(7);
        var good = Encoding.UTF8.GetBytes(
            "{\"r\": 8, \"names\": [\"q\", \"\\u00e9\"], \"deep\": {\"x\": {\"y\": [1, -2.5e3, true, null]}}}");
        for (var round = 0; round < 1000; round++)
        {
            var bytes = (byte[])good.Clone();
            for (var change = random.Next(1, 4); change > 0; change--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            var path = _folder.Put("f.json", bytes[..random.Next(bytes.Length + 1)]);
            try
            {
                _ = ConfigText.ToYaml(ConfigJson.ReadFile(path));
            }
            catch (UserException)
            {
            }
        }
    }
}
