using Peft.Formats.Configuration;
using YamlDotNet.RepresentationModel;

namespace Peft.Formats.Tests.Configuration;

public sealed class ConfigTextTests
{
    private const string Everything =
        """
        {
          "text": "a: b # c",
          "number": 8,
          "small": 1e-05,
          "as text": "8",
          "yes": "yes",
          "lines": "one\ntwo\ttab \"quoted\" \\ back",
          "unicode": "Straße 漢字 \ud83d\ude00 \u2028 \u0085 \ufeff",
          "empty": "",
          "nothing": null,
          "null text": "null",
          "truth": true,
          "dash": "- x",
          "tilde": "~",
          "date": "2024-01-01",
          "octal": "0o17",
          "hex": "0x1F",
          "time": "12:30:45",
          "path": "/a/b-c.d",
          "{": "}",
          "list": [1, "1", [2, [3]], {"a": 1, "b": {"c": []}}, {}],
          "map": {"x": {"y": {"z": 1.5}}, "none": {}}
        }
        """;

    [Fact]
    public void JSON_reads_back_as_the_same_tree()
    {
        var map = ConfigJson.Parse(Everything, "f");
        Assert.Equal(Shape(map), Shape(ConfigJson.Parse(ConfigText.ToJson(map), "f")));
    }

    [Fact]
    public void YAML_reads_back_as_the_same_tree_through_another_reader()
    {
        var map = ConfigJson.Parse(Everything, "f");
        var stream = new YamlStream();
        stream.Load(new StringReader(ConfigText.ToYaml(map)));
        Assert.Equal(Shape(map), Shape(stream.Documents[0].RootNode));
    }

    [Fact]
    public void YAML_is_written_in_block_style()
    {
        var map = ConfigJson.Parse(
            """{"a": [1, 2], "b": [{"x": 1, "y": {"z": 2}}], "c": {}, "d": "true", "e": []}""", "f");
        Assert.Equal(
            "a: [1, 2]\nb:\n  - x: 1\n    \"y\":\n      z: 2\nc: {}\nd: \"true\"\ne: []\n", ConfigText.ToYaml(map));
        Assert.Equal("{}\n", ConfigText.ToYaml(ConfigMap.Empty("f")));
    }

    [Fact]
    public void JSON_is_indented_by_two_with_letters_as_they_are() => Assert.Equal(
        "{\n  \"a\": \"é<&>\",\n  \"b\": [\n    0.5,\n    1e-05,\n    1.10\n  ]\n}\n",
        ConfigText.ToJson(ConfigJson.Parse("""{"a": "é<&>", "b": [0.5, 1e-05, 1.10]}""", "f")));

    [Theory]
    [InlineData(1e-5, "1.0e-05")]
    [InlineData(1, "1.0")]
    [InlineData(0.1, "0.1")]
    [InlineData(1e300, "1.0e+300")]
    [InlineData(1.5e-7, "1.5e-07")]
    public void Numbers_are_floats_for_every_reader(double value, string expected) =>
        Assert.Equal(expected, ConfigScalar.Of(value).Text);

    [Fact]
    public void With_replaces_in_place_and_Without_removes()
    {
        var map = ConfigJson.Parse("""{"a": 1, "b": 2}""", "f");
        Assert.Equal(
            "a: 3\nb: 2\nc: 4\n", ConfigText.ToYaml(map.With("a", ConfigScalar.Of(3L)).With("c", ConfigScalar.Of(4L))));
        Assert.Equal("b: 2\n", ConfigText.ToYaml(map.Without("a")));
        Assert.Throws<ArgumentException>(() => new ConfigMap("f", 0, map.Entries.Concat(map.Entries)));
    }

    private static string Shape(ConfigNode node) => node switch
    {
        ConfigMap map =>
            "{" + string.Join(",", map.Entries.Select(entry => $"<{entry.Key}>{Shape(entry.Value)}")) + "}",
        ConfigList list => "[" + string.Join(",", list.Items.Select(Shape)) + "]",
        ConfigScalar { IsNull: true } => "null",
        ConfigScalar scalar when scalar.IsQuoted => $"<{scalar.Text}>",
        ConfigScalar scalar when scalar.TryNumber(out var number) => number.ToString("R"),
        var scalar => ((ConfigScalar)scalar).Text!,
    };

    private static string Shape(YamlNode node) => node switch
    {
        YamlMappingNode map =>
            "{" + string.Join(
                ",", map.Children.Select(entry => $"<{((YamlScalarNode)entry.Key).Value}>{Shape(entry.Value)}")) + "}",
        YamlSequenceNode list => "[" + string.Join(",", list.Children.Select(Shape)) + "]",
        YamlScalarNode scalar => Shape(new ConfigScalar(
            "", 0, scalar.Value, scalar.Style != YamlDotNet.Core.ScalarStyle.Plain || IsPlainText(scalar.Value!))),
        _ => throw new InvalidOperationException(),
    };

    private static bool IsPlainText(string value)
    {
        var scalar = new ConfigScalar("", 0, value);
        return !scalar.IsNull && !scalar.TryNumber(out _) && !scalar.TryBoolean(out _);
    }
}
