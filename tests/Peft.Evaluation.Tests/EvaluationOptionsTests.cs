using Peft.Evaluation.Metrics;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Evaluation.Tests;

public sealed class EvaluationOptionsTests
{
    [Fact]
    public void An_empty_section_measures_nothing_and_the_base_if_there_were_something()
    {
        var options = Read("{}");
        Assert.Empty(options.Tasks);
        Assert.Empty(options.Baselines);
        Assert.True(options.Base);
    }

    [Fact]
    public void Tasks_and_baselines_are_read_in_order_with_their_defaults()
    {
        var options = Read("""
            {"tasks": [{"task": "spam", "metric": "accuracy", "rows": 10, "max_new_tokens": 4}, {"task": "g2p"}],
             "base": false,
             "baselines": [{"name": "one LoRA", "results": "recipes/results/lora.json"}]}
            """, "g2p", "spam");

        Assert.Equal(
            [
                new TaskOptions { Name = "spam", Metric = "accuracy", Rows = 10, MaxNewTokens = 4 },
                new TaskOptions { Name = "g2p", Metric = "exact_match", Rows = 200, MaxNewTokens = 32 },
            ], options.Tasks);
        Assert.Equal(
            [new BaselineOptions { Name = "one LoRA", Results = "recipes/results/lora.json" }], options.Baselines);
        Assert.False(options.Base);
    }

    [Fact]
    public void All_faults_are_told_at_once()
    {
        var error = Assert.Throws<FaultsException>(() => Read("""
            {"tasks": [
              {"task": "gtp", "metric": "token_error"},
              {"metric": "accuracy", "rows": 0},
              {"task": "spam", "max_new_tokens": "many", "row": 5}],
             "base": "yes",
             "baselines": [{"name": "x"}]}
            """, "g2p", "spam"));

        const string Task = "expected the task of a data set under data.eval: g2p or spam. Did you mean g2p?";
        const string Metric = "expected a metric of generation tasks: accuracy, exact_match, numeric, token_f1, "
            + "token_error_rate or char_error_rate. Did you mean token_error_rate?";
        Assert.Equal(
            $$"""
            r.json has 8 faults:
              line 2  evaluation.tasks[0].task            'gtp'; {{Task}}
              line 2  evaluation.tasks[0].metric          'token_error'; {{Metric}}
              line 3  evaluation.tasks[1].rows            0; expected a whole number of at least 1.
              line 4  evaluation.tasks[2].max_new_tokens  'many'; expected a whole number from 1 to 4096.
              line 4  evaluation.tasks[2].row             unknown key. Did you mean rows?
              line 5  evaluation.base                     'yes'; expected true or false.
              evaluation.tasks[1].task                    missing; expected a text.
              evaluation.baselines[0].results             missing; expected a text.
            """, error.Message);
    }

    [Fact]
    public void A_task_without_any_held_out_data_says_so()
    {
        var error = Assert.Throws<FaultsException>(() => Read("""{"tasks": [{"task": "spam"}]}"""));
        Assert.Equal(
            "r.json has 1 fault:\n  line 1  evaluation.tasks[0].task  'spam'; expected the task of a data set under "
                + "data.eval. Add the data set: data.eval is empty.",
            error.Message);
    }

    [Fact]
    public void Names_that_only_the_data_can_tell_are_taken()
    {
        var faults = new Faults();
        var reader = new OptionReader(
            ConfigJson.Parse("""{"tasks": [{"task": "any"}]}""", "r.json"), "evaluation", faults);
        Assert.Equal("any", EvaluationOptions.Read(reader, null).Tasks.Single().Name);
        Assert.False(faults.Any);
    }

    private static EvaluationOptions Read(string json, params string[] tasks)
    {
        var faults = new Faults();
        var reader = new OptionReader(ConfigJson.Parse(json, "r.json"), "evaluation", faults);
        var options = EvaluationOptions.Read(reader, tasks);
        reader.Finish();
        faults.ThrowIfAny("r.json");
        return options;
    }
}
