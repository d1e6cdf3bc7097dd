using System.Text;
using Peft.Formats.Configuration;
using Peft.Formats;
using Peft.Recipes.Reading;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests.Reading;

public sealed class YamlReaderTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Values_keep_their_lines_order_and_spelling()
    {
        var map = YamlReader.Parse("# a comment\nb: 1e-5\na:\n  x: [yes, 08,\n    c]\n  y: 2\n", "r.yaml");

        Assert.Equal(["b", "a"], map.Keys);
        var number = Assert.IsType<ConfigScalar>(map["b"]);
        Assert.Equal(("1e-5", false, 2, "r.yaml"), (number.Text, number.IsQuoted, number.Line, number.Source));
        var section = Assert.IsType<ConfigMap>(map["a"]);
        Assert.Equal(3, section.Line); // a section is reported where its key stands
        Assert.Equal(6, section["y"]!.Line);
        var list = Assert.IsType<ConfigList>(section["x"]);
        Assert.Equal(["yes", "08", "c"], list.Items.Select(i => ((ConfigScalar)i).Text));
        Assert.Equal([4, 4, 5], list.Items.Select(i => i.Line));
    }

    [Theory]
    [InlineData("a:")]
    [InlineData("a: ~")]
    [InlineData("a: null")]
    [InlineData("a: Null")]
    [InlineData("a: # nothing")]
    [InlineData("{a: }")]
    public void What_yaml_calls_null_is_null(string text) => Assert.True(Scalar(text).IsNull);

    [Theory]
    [InlineData("a: \"null\"", "null")]
    [InlineData("a: '8'", "8")]
    [InlineData("a: \"\"", "")]
    [InlineData("a: \"tab\\t\\u00e9\"", "tab\té")]
    [InlineData("a: 'it''s'", "it's")]
    [InlineData("a: |\n  two\n  lines\n", "two\nlines\n")]
    [InlineData("a: >-\n  one\n  line\n", "one line")]
    public void Quoted_and_block_texts_are_texts_whatever_they_look_like(string yaml, string text)
    {
        var scalar = Scalar(yaml);
        Assert.Equal((text, true), (scalar.Text, scalar.IsQuoted));
    }

    [Theory]
    [InlineData("")]
    [InlineData("# only a comment\n")]
    [InlineData("{}")]
    public void A_file_without_keys_is_an_empty_recipe(string text) =>
        Assert.Equal(0, YamlReader.Parse(text, "r.yaml").Count);

    [Theory]
    [InlineData("a: 1\nb: 2\na: 3\n", "r.yaml:3: key 'a' is already set on line 1. Remove one of the two.")]
    [InlineData("s:\n  a: 1\n  a: 1\n", "r.yaml:3: key 'a' is already set on line 2. Remove one of the two.")]
    [InlineData("a: 1\n\"a\": 3\n", "r.yaml:2: key 'a' is already set on line 1. Remove one of the two.")]
    [InlineData("a: &x 1\nb: *x\n", "r.yaml:2: the alias '*x' is not supported. Write the value out.")]
    [InlineData("a: &x {c: 1}\nb:\n  <<: *x\n", "r.yaml:3: the alias '*x' is not supported. Write the value out.")]
    [InlineData("a: !!str 5\n",
        "r.yaml:1: the tag 'tag:yaml.org,2002:str' is not supported. Write the plain value.")]
    [InlineData("a: !include other.yaml\n",
        "r.yaml:1: the tag '!include' is not supported. Write the plain value.")]
    [InlineData("? [a, b]\n: 1\n", "r.yaml:1: a key that is not plain text; expected a text.")]
    [InlineData("a: 1\n---\nb: 1\n",
        "r.yaml:2: a second document; expected one YAML document. Put it into a file of its own.")]
    [InlineData("- a\n- b\n",
        "r.yaml: a list of 2 items; expected a mapping of sections (model:, adapter:, data:, training:).")]
    [InlineData("hello", "r.yaml: 'hello'; expected a mapping of sections (model:, adapter:, data:, training:).")]
    public void What_is_not_plain_data_is_refused(string text, string message) =>
        Assert.Equal(message, Assert.Throws<UserException>(() => YamlReader.Parse(text, "r.yaml")).Message);

    [Theory]
    [InlineData("a: 1\n b: 2\n", 2)]
    [InlineData("b: 1\na: \"open\nc: 1\n", 2)]
    [InlineData("a: b: c\n", 1)]
    [InlineData("a: @x\n", 1)]
    [InlineData("{a: 1\n", 2)]
    public void What_is_not_yaml_names_its_line(string text, int line)
    {
        var message = Assert.Throws<UserException>(() => YamlReader.Parse(text, "r.yaml")).Message;
        Assert.StartsWith($"r.yaml:{line}: not valid YAML: ", message, StringComparison.Ordinal);
        Assert.EndsWith(".", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\ta: 1\n", 1, 1)]
    [InlineData("a:\n\t- 1\n", 2, 1)]
    [InlineData("a:\n  b: 1\n\tc: 2\n", 3, 1)]
    [InlineData("a:\n  \tb: 1\n", 2, 3)]
    [InlineData("a:\r\n  b: 1\r\n \tc: 2\r\n", 3, 2)]
    [InlineData("a: [\t1,\t2]\n", 1, 5)]
    [InlineData("a: {b: 1,\n\tc: 2}\n", 2, 1)]
    [InlineData("a:\n  -\tb: 1\n", 2, 4)]
    [InlineData("a: \"x\ty\"\nb:\t1\n", 2, 3)]
    [InlineData("a: |\n\tx\n", 2, 1)]
    public void A_tab_in_the_indentation_or_between_two_words_says_use_spaces(string text, int line, int column) =>
        Assert.Equal(
            $"r.yaml:{line}:{column}: a tab in the indentation or between two words. Use spaces.",
            Assert.Throws<UserException>(() => YamlReader.Parse(text, "r.yaml")).Message);

    [Theory]
    [InlineData("a: x\t\n\nb: 1\n", "x")]
    [InlineData("a: x\t# why\t\n# a\tb\nb: 1\n", "x")]
    [InlineData("a: \"x\ty\"\n", "x\ty")]
    [InlineData("a: x\ty\n", "x\ty")]
    [InlineData("a: 'x\n\ty'\n", "x y")]
    public void A_tab_of_a_text_or_comment_or_at_the_end_of_a_line_does_no_harm(string text, string value) =>
        Assert.Equal(value, Assert.IsType<ConfigScalar>(YamlReader.Parse(text, "r.yaml")["a"]).Text);

    [Fact]
    public void An_override_with_a_tab_is_named_whole() => Assert.Equal(
        "--set a={\tb: 1}: a tab in the indentation or between two words. Use spaces.",
        Assert.Throws<UserException>(() => YamlReader.Parse("value: {\tb: 1}", "--set a={\tb: 1}")).Message
            .Replace("\\t", "\t", StringComparison.Ordinal));

    [Fact]
    public void A_tab_inside_a_block_text_is_text() =>
        Assert.Equal("x:\n\ty\n", Scalar("a: |\n  x:\n  \ty\n").Text);

    [Fact]
    public void A_bracket_left_open_says_so() => Assert.Equal(
        "r.yaml:1: not valid YAML: a bracket or quote is not closed on this line or after it.",
        Assert.Throws<UserException>(() => YamlReader.Parse("a: [1, 2\nb: 3\n", "r.yaml")).Message);

    [Fact]
    public void What_the_library_trips_over_is_no_yaml() => Assert.Equal(
        "r.yaml:1: not valid YAML: Global tags must be valid URIs.",
        Assert.Throws<UserException>(() => YamlReader.Parse("!![binary] x\n", "r.yaml")).Message);

    [Fact]
    public void A_fault_is_not_blamed_on_a_tab_of_a_block_text_above_it() => Assert.StartsWith(
        "r.yaml:5: not valid YAML: ",
        Assert.Throws<UserException>(() => YamlReader.Parse("a: |\n  x:\n  \ty\nb: 1\nc: @x\n", "r.yaml")).Message,
        StringComparison.Ordinal);

    [Fact]
    public void Half_a_character_says_so() => Assert.Equal(
        @"r.yaml:1: not valid YAML: an escape \uD800 to \uDFFF, on this line or after it, is half a character. "
            + "Write both halves, or the character itself.",
        Assert.Throws<UserException>(() => YamlReader.Parse(@"{""\ud800\ud800"": 1}", "r.yaml")).Message);

    [Fact]
    public void Aliases_of_aliases_are_refused_before_they_grow()
    {
        var text = new StringBuilder("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for (var level = 1; level < 40; level++)
            text.Append($"a{level}: &a{level} [{string.Join(", ", Enumerable.Repeat($"*a{level - 1}", 9))}]\n");
        var before = GC.GetTotalAllocatedBytes();

        var error = Assert.Throws<UserException>(() => YamlReader.Parse(text.ToString(), "r.yaml"));

        Assert.Equal("r.yaml:2: the alias '*a0' is not supported. Write the value out.", error.Message);
        Assert.True(GC.GetTotalAllocatedBytes() - before < 4 << 20);
    }

    [Theory]
    [InlineData("[", "]")]
    [InlineData("{a: ", "}")]
    public void Deep_nesting_is_refused_and_does_not_overflow_the_stack(string open, string close)
    {
        string Nested(int depth) =>
            "a: " + string.Concat(Enumerable.Repeat(open, depth)) + string.Concat(Enumerable.Repeat(close, depth));
        YamlReader.Parse(Nested(60), "r.yaml");
        foreach (var depth in new[] { 70, 100_000 })
        {
            Assert.Equal(
                "r.yaml:1: nested deeper than 64 levels.",
                Assert.Throws<UserException>(() => YamlReader.Parse(Nested(depth), "r.yaml")).Message);
        }
    }

    [Fact]
    public void Whatever_stands_in_a_file_is_read_or_refused_with_a_message()
    {
        var random = new Random(9);
        var good = "a: 1\nb: {c: [1, 'two', \"\\u00e9\"], d: &x ~}\ne: |\n  text\nf: !t v\n---\n? k\n: *x\n";
        const string Marks = "{}[]:,-?&*!|>'\"%@`#\n \t\\u0ab~\0\u0007\u2028\ud800";
        for (var time = 0; time < 3000; time++)
        {
            var text = new StringBuilder(good);
            for (var change = random.Next(1, 8); change > 0; change--)
            {
                var at = random.Next(text.Length);
                if (random.Next(3) == 0)
                    text.Remove(at, Math.Min(text.Length - at, random.Next(4)));
                else
                    text.Insert(at, Marks[random.Next(Marks.Length)]);
            }
            try
            {
                YamlReader.Parse(text.ToString(), "r.yaml");
            }
            catch (UserException)
            {
                // Refused with a message; anything else fails the test.
            }
        }
    }

    [Fact]
    public void A_missing_file_names_the_nearest()
    {
        File.WriteAllText(_folder["default.yaml"], "");
        Assert.Equal(
            $"{_folder["defualt.yaml"]}: no such file. Did you mean {_folder["default.yaml"]}?",
            Assert.ThrowsAny<UserException>(() => YamlReader.ReadFile(_folder["defualt.yaml"])).Message);
    }

    [Fact]
    public void A_directory_is_no_recipe() => Assert.Equal(
        $"{_folder.Path}: is a directory, not a file. Check the path.",
        Assert.ThrowsAny<UserException>(() => YamlReader.ReadFile(_folder.Path)).Message);

    [Fact]
    public void Nothing_after_the_character_nul_is_passed_over() => Assert.Equal(
        "r.yaml:2: the character NUL; expected text in YAML. Take it out.",
        Assert.Throws<UserException>(() => YamlReader.Parse("a: 1\n\0b: 2\n", "r.yaml")).Message);

    [Theory]
    [InlineData("a: 1\nb: \"x\\0y\"\n")]
    [InlineData("a: 1\n\"x\\0y\": 1\n")]
    public void The_character_nul_is_refused(string text) => Assert.Equal(
        "r.yaml:2: a text with the character NUL. Take it out.",
        Assert.Throws<UserException>(() => YamlReader.Parse(text, "r.yaml")).Message);

    [Fact]
    public void A_huge_file_is_not_read()
    {
        using (var file = File.Create(_folder["big.yaml"]))
            file.SetLength((4 << 20) + 1);
        Assert.Equal(
            $"{_folder["big.yaml"]}: 4,194,305 bytes; expected at most 4,194,304 bytes. Check that this is the right "
            + $"file.",
            Assert.ThrowsAny<UserException>(() => YamlReader.ReadFile(_folder["big.yaml"])).Message);
    }

    [Fact]
    public void A_file_must_be_utf8_with_or_without_a_byte_order_mark()
    {
        File.WriteAllBytes(_folder["bom.yaml"], [0xEF, 0xBB, 0xBF, .. "a: é\n"u8]);
        Assert.Equal("é", ((ConfigScalar)YamlReader.ReadFile(_folder["bom.yaml"])["a"]!).Text);

        File.WriteAllBytes(_folder["latin.yaml"], [.. "a: "u8, 0xE9, .. "\n"u8]);
        Assert.Equal(
            $"{_folder["latin.yaml"]}: is not text in UTF-8. Save it as UTF-8.",
            Assert.Throws<UserException>(() => YamlReader.ReadFile(_folder["latin.yaml"])).Message);
    }

    [Fact]
    public void Windows_line_ends_are_line_ends()
    {
        var map = YamlReader.Parse("a: 1\r\nb:\r\n  c: x\r\n", "r.yaml");
        Assert.Equal("x", ((ConfigScalar)((ConfigMap)map["b"]!)["c"]!).Text);
        Assert.Equal(3, ((ConfigMap)map["b"]!)["c"]!.Line);
    }

    private static ConfigScalar Scalar(string text) =>
        Assert.IsType<ConfigScalar>(YamlReader.Parse(text, "r.yaml")["a"]);
}
