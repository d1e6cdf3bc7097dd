using Peft.Formats.Configuration;

namespace Peft.Formats.Tests.Configuration;

/// <summary>A key that nobody reads is told with what to write instead, and never with a list that nobody
/// reads.</summary>
public sealed class UnknownKeyTests
{
    private static string FaultOf(string json)
    {
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(json, "r.json"), "", faults);
        reader.Section("model").Text("dtype", "auto");
        var adapter = reader.Section("adapter");
        adapter.Integer("r", 8);
        adapter.Number("lora_alpha", 8);
        adapter.Section("experts").Integer("count", 4);
        reader.Section("data").Integer("seed", 1);
        reader.Section("data").Integer("max_length", 512);
        var training = reader.Section("training");
        foreach (
            var key in new[] { "learning_rate", "max_steps", "seed", "eval_steps", "save_steps", "optim", "momentum",
            "per_device_train_batch_size", "num_train_epochs" })
        {
            training.Number(key, 1);
        }

        reader.Finish("all keys are in docs/keys.md");
        return Assert.Single(faults.Items).ToString();
    }

    [Theory]
    [InlineData("adapter", "alpha", "here it is called adapter.lora_alpha.")]
    [InlineData("adapter", "rank", "here it is called adapter.r.")]
    [InlineData("adapter", "num_experts", "here it is called adapter.experts.count.")]
    [InlineData("data", "max_seq_length", "here it is called data.max_length.")]
    [InlineData("training", "lr", "here it is called training.learning_rate.")]
    [InlineData("training", "batch-size", "here it is called training.per_device_train_batch_size.")]
    [InlineData("training", "epochs", "here it is called training.num_train_epochs.")]
    [InlineData("training", "random_seed", "here it is called training.seed.")]
    [InlineData("training", "eval_strategy", "here it is called training.eval_steps, a number of steps.")]
    [InlineData("training", "bf16", "here it is called model.dtype: write model.dtype: bfloat16.")]
    [InlineData(
        "model", "load_in_4bit", "4-bit and 8-bit bases are not supported: use a checkpoint in bfloat16, float16 or "
        + "float32, and model.dtype.")]
    [InlineData(
        "training", "deepspeed",
        "one process trains on one device: take the key out; choose the device with --device, or start several with "
        + "mpirun.")]
    public void A_key_of_another_tool_is_told_with_ours_or_the_reason(string section, string key, string advice) =>
        Assert.Equal(
        $"line 1  {section}.{key}: unknown key. {char.ToUpperInvariant(advice[0])}{advice[1..]}",
        FaultOf($"{{\"{section}\": {{\"{key}\": 1}}}}"));

    [Theory]
    [InlineData("""{"training": {"max_stepz": 1}}""", "training.max_stepz: unknown key. Did you mean max_steps?")]
    [InlineData(
        """{"adapter": {"max_steps": 1}}""",
        "adapter.max_steps: unknown key. It belongs at training.max_steps: move it there.")]
    [InlineData(
        """{"adapter": {"lerning_rate": 1}}""",
        "adapter.lerning_rate: unknown key. Did you mean training.learning_rate?")]
    [InlineData("""{"training.seed": 1}""", "training.seed: unknown key. It belongs at training.seed: move it there.")]
    [InlineData("""{"data": {"zzz": 1}}""", "data.zzz: unknown key; expected seed or max_length.")]
    [InlineData(
        """{"training": {"zzz": 1}}""",
        "training.zzz: unknown key; expected learning_rate, max_steps, seed, eval_steps or "
        + "one of 5 others. All keys are in docs/keys.md.")]
    public void The_name_meant_is_told_or_a_few_and_where_all_are(string json, string message) =>
        Assert.Equal("line 1  " + message, FaultOf(json));

    [Fact]
    public void Advice_for_a_long_list_costs_as_much_for_each_section_as_for_a_short_one()
    {
        Allocated(10);
        Assert.InRange(Allocated(400), 0, 6 * Allocated(100));

        static long Allocated(int sections)
        {
            var json = $"{{\"train\": [{string.Join(", ", Enumerable.Repeat("{\"nothing alike\": 1}", sections))}]}}";
            var map = ConfigJson.Parse(json, "r.json");
            var before = GC.GetAllocatedBytesForCurrentThread();
            var reader = new OptionReader(map, "", new Faults());
            foreach (var section in reader.Sections("train"))
            {
                foreach (var key in new[] { "name", "files", "filter", "template", "format", "split" })
                    section.OptionalText(key);
            }

            reader.Finish();
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }
}
