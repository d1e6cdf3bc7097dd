using System.Text;
using System.Text.Json.Nodes;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Tests.Lora;

/// <summary>
/// What bundle.json and recipe.resolved.yaml hold for an adapter, against a text in the repository: bundles
/// are read by other versions, and a run continues only under the resolved recipe that it began with.
/// </summary>
public sealed class SavedOptionsTests
{
    private static readonly string Stored = Path.Combine(
        SharedAssets.Repository, "tests", "golden", "saved-options.txt");

    private static readonly string[] Others =
    [
        "{}",
        """
        {"r": 4, "lora_alpha": 3.5, "lora_dropout": 0.05, "use_rslora": true, "target_modules": ["q_proj"],
        "layers_to_transform": [1, 2], "layers_pattern": "layers"}
        """,
        """
        {"target_modules": ".*q_proj", "exclude_modules": ["lm_head"], "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"q_proj": 1.5}, "init_lora_weights": "gaussian"}
        """,
        """
        {"method": "mixture", "experts": {"names": ["a", "b", "c"], "train": false, "layers": [0]},
        "router": {"kind": "hard", "balance": {"kind": "switch", "coefficient": 0.01, "scope": "model"}}}
        """,
        """
        {"method": "mixture", "experts": {"count": {"shape": "triangle", "min": 2, "max": 8}},
        "router": {"kind": "tsallis"}}
        """,
        """
        {"method": "mixture", "experts": {"count": [2, 1, 3]}, "router": {"kind": "hard-soft", "top_k": 2}}
        """,
        """
        {"method": "mixture", "router": {"kind": "soft", "balance": {"kind": "localized", "task_types": [0, 1]}}}
        """,
        """
        {"method": "mixture", "router": {"kind": "top-k", "scoring_func": "sigmoid", "balance": {"kind": "loss-free"}}}
        """,
        """
        {"method": "mixture", "router": {"kind": "top-k", "balance": {"kind": "bip", "ema": 0.5}}}
        """,
        """
        {"method": "mixture", "router": {"kind": "top-k", "balance": {"kind": "quantile"}}}
        """,
        """
        {"method": "mixture", "router": {"kind": "top-k", "balance": {"kind": "sinkhorn"}}}
        """,
        """
        {"method": "mixture", "r": 32, "router": {"kind": "random-projection", "top_k": 4, "projection_seed": 3}}
        """,
        """{"method": "mixture", "experts": {"count": 1}, "router": {"kind": "none"}}""",
    ];

    [Fact]
    public void Options_are_saved_as_they_always_were()
    {
        var cases = Others.Concat(RouterCatalog.Entries.Select(entry =>
            """{"method": "mixture", "r": 4,"""
            + """ "router": {"kind": "KIND"}}""".Replace("KIND", entry.Kind, StringComparison.Ordinal)));
        var text = new StringBuilder();
        foreach (var written in cases)
        {
            var reader = new OptionReader(ConfigJson.Parse(written, "adapter"), "", new Faults());
            var options = AdapterOptions.Read(reader);
            Assert.False(reader.Faults.Any);
            text.Append("# ").AppendLine(JsonNode.Parse(written)!.ToJsonString());
            text.AppendLine(options.ToJson().ToJsonString());
            text.AppendLine(ConfigText.ToYaml(reader.Resolved()));
        }

        Assert.Equal(File.ReadAllText(Stored), text.ToString());
    }
}
