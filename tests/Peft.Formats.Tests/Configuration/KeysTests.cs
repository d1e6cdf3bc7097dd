using Peft.Formats.Configuration;

namespace Peft.Formats.Tests.Configuration;

/// <summary>An option is one line: a property with [Key] is declared, defaulted, read, checked, resolved and written.</summary>
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
            {"lora_dropout": 0.5, "seed": 7, "lr_scheduler_type": "linear", "name": "x", "limit": 3, "report_to": "none",
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
            "{\"lora_dropout\": 2,\n\"lr_scheduler_type\": \"cosin\",\n\"limit\": 0,\n\"router\": {\"top_k\": 0},\n\"no_key\": 1}");
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
}
