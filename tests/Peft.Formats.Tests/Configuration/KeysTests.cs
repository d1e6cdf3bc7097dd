using Peft.Formats.Configuration;

namespace Peft.Formats.Tests.Configuration;

/// <summary>An option is one line: a property with [Key] is declared, defaulted, read, checked, resolved and
/// written.</summary>
public sealed class KeysTests
{
    private sealed record Inner
    {
        [Key(Min = 1)] public int TopK { get; init; } = 2;
    }

    private record Base
    {
        [Key] public bool UseRslora { get; init; }
    }

    private sealed record Options : Base
    {
        [Key(Min = 0, Max = 1)] public double LoraDropout { get; init; } = 0.1;

        [Key] public long Seed { get; init; } = 42;

        [Key(Choices = ["linear", "cosine"])] public string LrSchedulerType { get; init; } = "cosine";

        [Key] public string? Name { get; init; }

        [Key(Min = 1)] public int? Limit { get; init; }

        [Key] public IReadOnlyList<string> ReportTo { get; init; } = ["tensorboard"];

        [Key(Min = 0)] public IReadOnlyList<int> Layers { get; init; } = [];

        [Key] public Inner Router { get; init; } = new();

        public int NoKey { get; init; } = 7;
    }

    private static (Options Options, OptionReader Reader, Faults Faults) Bind(string json)
    {
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(json, "r.json"), "", faults);
        var options = reader.Bind(new Options());
        reader.Finish();
        return (options, reader, faults);
    }

    [Fact]
    public void An_absent_key_has_the_propertys_first_value()
    {
        var (options, _, faults) = Bind("{}");
        Assert.Equal(new Options() with { ReportTo = options.ReportTo, Layers = options.Layers }, options);
        Assert.Equal(["tensorboard"], options.ReportTo);
        Assert.False(faults.Any);
    }

    [Fact]
    public void Every_type_is_read_under_the_name_in_snake_case()
    {
        var (options, _, faults) = Bind("""
            {"lora_dropout": 0.5, "seed": 7, "lr_scheduler_type": "linear", "name": "x", "limit": 3,
            "report_to": "none",
             "layers": [1, 2], "use_rslora": true, "router": {"top_k": 4}}
            """);
        Assert.False(faults.Any);
        Assert.Equal((0.5, 7L, "linear", "x", 3, true, 4, 7), (
            options.LoraDropout, options.Seed, options.LrSchedulerType, options.Name, options.Limit, options.UseRslora,
            options.Router.TopK, options.NoKey));
        Assert.Equal(["none"], options.ReportTo);
        Assert.Equal([1, 2], options.Layers);
    }

    [Fact]
    public void Ranges_choices_and_unknown_keys_are_refused_together()
    {
        var (_, _, faults) = Bind(
            "{\"lora_dropout\": 2,\n\"lr_scheduler_type\": \"cosin\",\n\"limit\": 0,\n\"router\": {\"top_k\": "
                + "0},\n\"no_key\": 1}");
        Assert.Equal(
            [
                "line 1  lora_dropout: 2; expected a number from 0 to 1.",
                "line 2  lr_scheduler_type: 'cosin'; expected linear or cosine. Did you mean cosine?",
                "line 3  limit: 0; expected a whole number of at least 1.",
                "line 4  router.top_k: 0; expected a whole number of at least 1.",
            ],
            faults.Items.Take(4).Select(fault => fault.ToString()));
        Assert.Contains("no_key: unknown key", faults.Items[4].ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_written_is_read_back_and_equals_what_is_resolved()
    {
        var (options, reader, _) = Bind("""{"seed": 7, "layers": [3], "router": {"top_k": 4}}""");
        var json = Keys.ToJson(options).ToJsonString();
        var again = new OptionReader(ConfigJson.Parse(json, "b.json"), "", new Faults()).Bind(new Options());
        Assert.Equal(json, Keys.ToJson(again).ToJsonString());
        Assert.Equal(Keys.Of(typeof(Options)), reader.Resolved().Keys);
        Assert.Equal("use_rslora", Keys.Of(typeof(Options))[^1]);
    }

    private enum Policy
    {
        Stop,
        SkipRow,
    }

    private sealed record Part
    {
        [Key(Required = true)] public string Name { get; init; } = "";

        [Key] public double Weight { get; init; } = 1;
    }

    private readonly record struct Pair(int A, int B) : IKeyValue<Pair>
    {
        public static Pair Read(OptionReader reader, string key, Pair fallback) =>
            reader.Integers(key, [fallback.A, fallback.B]) is [var a, var b] ? new(a, b) : fallback;

        public System.Text.Json.Nodes.JsonNode ToJson() => new System.Text.Json.Nodes.JsonArray(A, B);
    }

    private sealed record Rich
    {
        [Key(Above = 0, Below = 1)] public double P { get; init; } = 0.5;

        [Key(Above = 0, Max = 1)] public IReadOnlyList<double> Weights { get; init; } = [1];

        [Key] public EquatableList<int> Counts { get; init; } = [4, 4];

        [Key] public Policy OnBadRow { get; init; }

        [Key(Choices = ["float-32", "bfloat-16"])] public Policy? Dtype { get; init; }

        [Key] public bool? Flag { get; init; }

        [Key] public long? Seed { get; init; }

        [Key] public Part? Merge { get; init; }

        [Key] public IReadOnlyList<Part> Parts { get; init; } = [];

        [Key(Min = 1)] public IReadOnlyList<KeyValuePair<string, int>> RankPattern { get; init; } = [new("q", 2)];

        [Key] public Pair Betas { get; init; } = new(1, 2);
    }

    private static (Rich Options, OptionReader Reader, Faults Faults) BindRich(string json)
    {
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(json, "r.json"), "", faults);
        var options = reader.Bind(new Rich());
        reader.Finish();
        return (options, reader, faults);
    }

    [Fact]
    public void Lists_enums_sections_free_keys_and_own_forms_are_read_and_written_back()
    {
        const string Json = """
            {"p":0.25,"weights":[0.5,1],"counts":[1,2,3],
            "on_bad_row":"skip_row","dtype":"bfloat-16","flag":false,"seed":5,
            "merge":{"name":"m","weight":2},"parts":[{"name":"a","weight":1},{"name":"b","weight":3}],
            "rank_pattern":{"v_proj":8,"q_proj":4},"betas":[3,4]}
            """;
        var (options, reader, faults) = BindRich(Json);
        Assert.False(faults.Any);
        Assert.Equal(EquatableList.Create([1, 2, 3]), options.Counts);
        Assert.Equal(
            (Policy.SkipRow, Policy.SkipRow, false, 5L), (options.OnBadRow, options.Dtype, options.Flag, options.Seed));
        Assert.Equal([new("v_proj", 8), new("q_proj", 4)], options.RankPattern);
        Assert.Equal(new Pair(3, 4), options.Betas);
        Assert.Equal(Json.ReplaceLineEndings(""), Keys.ToJson(options).ToJsonString());
        Assert.Equal(Keys.Of(typeof(Rich)), reader.Resolved().Keys);
    }

    [Fact]
    public void What_was_not_written_is_resolved_with_its_default()
    {
        var (options, reader, faults) = BindRich("{}");
        Assert.False(faults.Any);
        Assert.Null(options.Merge);
        Assert.Equal([4, 4], options.Counts);
        Assert.Equal(
            """{"p":0.5,"weights":[1.0],"counts":[4,4],"on_bad_row":"stop","dtype":null,"flag":null,"seed":null"""
                + ""","merge":null,"parts":[],"rank_pattern":{"q":2},"betas":[1,2]}""",
            string.Concat(ConfigText.ToJson(reader.Resolved()).Split('\n').Select(line => line.Trim()))
                .Replace("\": ", "\":", StringComparison.Ordinal));
    }

    [Fact]
    public void A_wrong_item_is_named_with_what_is_expected()
    {
        var (_, _, faults) = BindRich("""
            {"p": 1, "weights": [0], "on_bad_row": "skip", "dtype": "float-23", "parts": [{"weight": 1}],
            "rank_pattern": {"q": 0}}
            """);
        Assert.Equal(
            [
                "line 1  p: 1; expected a number above 0 and below 1.",
                "line 1  weights: 0; expected a number above 0 and at most 1, or a list of them.",
                "line 1  on_bad_row: 'skip'; expected stop or skip_row.",
                "line 1  dtype: 'float-23'; expected float-32 or bfloat-16. Did you mean float-32?",
                "parts[0].name: missing; expected a text.",
                "line 2  rank_pattern.q: 0; expected a whole number of at least 1.",
            ],
            faults.Items.Select(fault => fault.ToString()));
    }

    private sealed record Conditional
    {
        [Key(Choices = ["none", "switch", "localized"])] public string Kind { get; init; } = "none";

        [Key(When = "kind=switch|localized")] public double Coefficient { get; init; } = 0.1;

        [Key(When = "kind=localized")] public double Delta { get; init; } = 0.1;
    }

    [Theory]
    [InlineData(
        """{"kind": "localized", "delta": 0.5}""", """{"kind":"localized","coefficient":0.1,"delta":0.5}""", null)]
    [InlineData("""{"kind": "switch"}""", """{"kind":"switch","coefficient":0.1}""", null)]
    [InlineData("""{}""", """{"kind":"none"}""", null)]
    [InlineData(
        """{"delta": 0.5, "coefficient": 1}""", """{"kind":"none"}""",
        "line 1  coefficient: no effect with kind: none. Remove it, or write kind: switch or localized.",
        "line 1  delta: no effect with kind: none. Remove it, or write kind: localized.")]
    public void A_key_that_does_nothing_under_anothers_value_is_refused(
        string text, string saved, params string[]? refused)
    {
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(text, "r.json"), "", faults);
        var options = reader.Bind(new Conditional());
        reader.Finish();

        Assert.Equal(refused ?? [], faults.Items.Select(fault => fault.ToString()));
        Assert.Equal(saved, Keys.ToJson(options).ToJsonString());
        Assert.Equal(Keys.ToJson(options).Select(pair => pair.Key), reader.Resolved().Keys);
    }
}
