using Peft.Formats.Configuration;

namespace Peft.Formats.Tests.Configuration;

public sealed class OptionReaderTests
{
    private static OptionReader Reader(string json, string path = "") =>
        new(ConfigJson.Parse(json, "f.json"), path, new Faults());

    private static void AssertFaults(OptionReader reader, params string[] expected) =>
        Assert.Equal(expected, reader.Faults.Items.Select(fault => fault.ToString()));

    [Fact]
    public void Values_are_read_with_their_types()
    {
        var reader = Reader(
            """
            {"i": 3, "l": 5000000000, "n": 1e-4, "w": 2, "b": true, "t": "x", "c": "sgd", "ts": ["a", "b"], "one": "a",
            "is": [1, 2]}
            """);

        Assert.Equal(3, reader.Integer("i", 1));
        Assert.Equal(5_000_000_000, reader.Long("l", 1));
        Assert.Equal(1e-4, reader.Number("n", 1));
        Assert.Equal(2.0, reader.Number("w", 1));
        Assert.True(reader.Boolean("b", false));
        Assert.Equal("x", reader.Text("t", "y"));
        Assert.Equal("sgd", reader.Choice("c", "adamw", ["adamw", "sgd"]));
        Assert.Equal(["a", "b"], reader.Texts("ts", []));
        Assert.Equal(["a"], reader.Texts("one", []));
        Assert.Equal([1, 2], reader.Integers("is", []));
        reader.Finish();
        AssertFaults(reader);
    }

    [Fact]
    public void Absent_and_null_give_the_default()
    {
        var reader = Reader("""{"a": null}""");

        Assert.Equal(7, reader.Integer("a", 7));
        Assert.False(reader.Has("a"));
        Assert.Null(reader.OptionalText("a"));
        Assert.Null(reader.OptionalInteger("x"));
        Assert.Null(reader.OptionalNumber("y"));
        Assert.Equal(["d"], reader.Texts("z", ["d"]));
        AssertFaults(reader);
    }

    [Theory]
    [InlineData("""{"k": "8"}""", "line 1  s.k: '8'; expected a whole number of at least 1.")]
    [InlineData("""{"k": 0}""", "line 1  s.k: 0; expected a whole number of at least 1.")]
    [InlineData("""{"k": 1.5}""", "line 1  s.k: 1.5; expected a whole number of at least 1.")]
    [InlineData(
        """{"k": 99999999999999999999}""",
        "line 1  s.k: 99999999999999999999; expected a whole number of at least 1.")]
    [InlineData("""{"k": [1]}""", "line 1  s.k: a list of 1 item; expected a whole number of at least 1.")]
    [InlineData("""{"k": {}}""", "line 1  s.k: an empty section; expected a whole number of at least 1.")]
    public void A_wrong_whole_number_is_a_fault_and_the_default_is_used(string json, string fault)
    {
        var reader = Reader(json, "s");
        Assert.Equal(4, reader.Integer("k", 4, 1));
        AssertFaults(reader, fault);
    }

    [Fact]
    public void The_range_is_told_as_far_as_it_goes()
    {
        var reader = Reader("""{"a": -1, "b": 9, "c": 9, "d": "x", "e": 2, "f": -1, "g": 1e999, "h": 2}""");
        reader.Integer("a", 1, 0, 4);
        reader.Integer("b", 1, max: 4);
        reader.Long("c", 1, 10, 20);
        reader.Integer("d", 1);
        reader.Number("e", 1, 0, 1);
        reader.Number("f", 1, min: 0);
        reader.Number("g", 1);
        reader.Number("h", 1, max: 1.5);
        AssertFaults(
            reader,
            "line 1  a: -1; expected a whole number from 0 to 4.",
            "line 1  b: 9; expected a whole number of at most 4.",
            "line 1  c: 9; expected a whole number from 10 to 20.",
            "line 1  d: 'x'; expected a whole number.",
            "line 1  e: 2; expected a number from 0 to 1.",
            "line 1  f: -1; expected a number of at least 0.",
            "line 1  g: '1e999'; expected a number.",
            "line 1  h: 2; expected a number of at most 1.5.");
    }

    [Fact]
    public void Other_types_have_their_own_faults()
    {
        var reader = Reader("""{"b": "yes", "t": [1], "ts": [["x"]], "is": ["x"], "s": 3, "ss": {}, "sl": [{}, 4]}""");
        Assert.True(reader.Boolean("b", true));
        Assert.Equal("d", reader.Text("t", "d"));
        Assert.Equal(["d"], reader.Texts("ts", ["d"]));
        Assert.Equal([5], reader.Integers("is", [5], 0));
        Assert.Equal("", reader.RequiredText("missing"));
        reader.Section("s").Finish();
        Assert.Empty(reader.Sections("ss"));
        Assert.Single(reader.Sections("sl"));
        AssertFaults(
            reader,
            "line 1  b: 'yes'; expected true or false.",
            "line 1  t: a list of 1 item; expected a text.",
            "line 1  ts: a list of 1 item; expected a text or a list of texts.",
            "line 1  is: 'x'; expected a whole number of at least 0, or a list of them.",
            "missing: missing; expected a text.",
            "line 1  s: 3; expected a section of keys.",
            "line 1  ss: an empty section; expected a list of sections.",
            "line 1  sl[1]: 4; expected a section of keys.");
    }

    [Fact]
    public void An_unknown_choice_is_told_with_the_allowed_ones()
    {
        var reader = Reader("""{"kind": "topk", "other": "zzz"}""");
        Assert.Equal("dense", reader.Choice("kind", "dense", ["dense", "top_k"]));
        reader.Choice("other", "dense", ["dense", "top_k"]);
        AssertFaults(
            reader,
            "line 1  kind: 'topk'; expected dense or top_k. Did you mean top_k?",
            "line 1  other: 'zzz'; expected dense or top_k.");
    }

    [Fact]
    public void Unknown_keys_are_found_in_every_section_with_the_name_meant()
    {
        var reader = Reader(
            """
            {"adapter": {"r": 8, "lora_alhpa": 16, "learning_rate": 1, "experts": [{"quux": 1}], "deep": {"zz": 1}},
             "training": {"xyz": 1}}
            """);
        var adapter = reader.Section("adapter");
        adapter.Integer("r", 8);
        adapter.Number("lora_alpha", 16);
        adapter.Sections("experts")[0].Text("name", "");
        adapter.Section("deep");
        reader.Section("training").Number("learning_rate", 1e-4);

        reader.Finish();

        AssertFaults(
            reader,
            "line 1  adapter.lora_alhpa: unknown key. Did you mean lora_alpha?",
            "line 1  adapter.learning_rate: unknown key. It belongs at training.learning_rate: move it there.",
            "line 1  adapter.deep.zz: unknown key; expected no keys here.",
            "line 1  adapter.experts[0].quux: unknown key; expected name.",
            "line 2  training.xyz: unknown key; expected learning_rate.");
    }

    [Fact]
    public void A_value_from_another_place_names_that_place()
    {
        var map = ConfigJson.Parse("""{"r": 8}""", "f.json").With("r", new ConfigScalar("--set", 0, "x"));
        var reader = new OptionReader(map, "", new Faults());
        reader.Integer("r", 8);
        AssertFaults(reader, "--set  r: 'x'; expected a whole number.");
    }

    [Fact]
    public void A_key_read_twice_is_told_once()
    {
        var reader = Reader("""{"r": "x"}""");
        reader.Integer("r", 8);
        reader.Integer("r", 8);
        Assert.Single(reader.Faults.Items);
    }

    [Fact]
    public void The_resolved_map_holds_every_default_in_reading_order()
    {
        var reader = Reader("""{"b": {"x": 3}, "raw": [1, {"z": null}]}""");
        reader.Number("a", 1e-5);
        reader.Section("b").Integer("x", 1);
        reader.Section("b").OptionalText("why");
        reader.Section("c").Boolean("active", true);
        reader.Node("raw");
        reader.Texts("names", ["8", "q_proj"]);
        Assert.False(reader.Has("absent"));

        Assert.Equal(
            """
            a: 1.0e-05
            b:
              x: 3
              why: null
            c:
              active: true
            raw:
              - 1
              - z: null
            names: ["8", q_proj]

            """,
            ConfigText.ToYaml(reader.Resolved()));
    }

    [Fact]
    public void Very_many_unknown_keys_are_counted()
    {
        var reader = Reader("{" + string.Join(", ", Enumerable.Range(0, 200_000).Select(i => $"\"k{i}\": 1")) + "}");
        foreach (var i in Enumerable.Range(0, 100_000))
            reader.Integer($"k{i}", 0);
        reader.Finish();
        Assert.Equal(51, reader.Faults.Items.Count);
        Assert.Equal("line 1  k100050", reader.Faults.Items[^1].Place);
        Assert.Equal("unknown key, and 99949 more", reader.Faults.Items[^1].Found);
    }
}
