namespace Peft.Compare;

/// <summary>One line of the comparison.</summary>
/// <param name="Name">Name in the table.</param>
/// <param name="Recipes">The recipes that train it, one after the other; each after the first takes the experts of the
/// one before.</param>
/// <param name="Difference">How this differs from the setting of its paper, beside base, data and rank.</param>
internal sealed record Method(string Name, IReadOnlyList<string> Recipes, string Difference)
{
    /// <summary>The plain adapter that step times are relative to.</summary>
    public const string Reference = "lora";

    public static IReadOnlyList<Method> All { get; } =
    [
        new(Reference, ["recipes/small/lora.yaml"], "none"),
        new("lora-plus", ["recipes/small/lora-plus.yaml"], "a third of LoRA's rate for A, 16 times that for B"),
        new("top-k", ["recipes/default.yaml"], "no paper's: four experts, top-2, Switch's balance loss"),
        new("mola", ["recipes/small/mola.yaml"], "2-4-6-8 experts over 4 layers, not over 32; no load balance loss"),
        new("lora-mixer", ["recipes/lora-mixer-stage1.yaml", "recipes/lora-mixer-stage2.yaml"],
            "a quarter of the steps train the routers; four tasks, four experts; top-3"),
        new("dynmole", ["recipes/small/dynmole.yaml"], "linear schedule with warm-up, as for all, not a constant rate"),
        new("remix", ["recipes/small/remix.yaml"],
            "the paper gives no rate and no number of epochs; four passes a step"),
        new("flylora", ["recipes/small/flylora.yaml"], "a frozen A is not counted as trained, so its rank is larger"),
        new("ld-mole", ["recipes/small/ld-mole.yaml"], "the loss coefficients are ours"),
        new("dynamic-moe", ["recipes/small/dynamic-moe.yaml"],
            "LoRA experts; the paper's are whole feed-forward layers trained from scratch"),
        new("loramoe", ["recipes/small/loramoe.yaml"], "two of the four tasks count as knowledge"),
    ];
}
