using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Evaluation.Tests.Tasks;

public sealed class TaskReaderTests
{
    [Fact]
    public void A_task_of_each_kind_is_read_with_its_defaults()
    {
        var choice = Read("""
            {"kind": "multiple_choice", "data": {"files": "x.parquet", "template":
              {"prompt": "{q}", "answer": "{label}"}}, "labels": ["a", "b"], "choices": [" {one}", " {two}"]}
            """);
        Assert.Equal(["acc"], choice.Metrics);
        Assert.Equal(["one", "two"], choice.Sources[0].Fields.SelectMany(field => field.Parsed!.Names));
        Assert.True(choice.HasChoices);

        var classes = Read("""
            {"kind": "classification", "labels": ["{x}", 1],
             "data": {"files": "x.parquet", "template": {"prompt": "{q}", "answer": "{label}"}}}
            """);
        Assert.Equal([" {x}", " 1"], classes.Choices.Select(choice => choice.Text));
        Assert.Equal(["accuracy"], classes.Metrics);

        var text = Read("""{"kind": "perplexity", "data": {"files": "x.parquet", "template": {"text": "{t}"}}}""");
        Assert.Equal(["token_perplexity"], text.Metrics);

        var written = Read("""
            {"kind": "generation", "stop": "\n",
             "data": {"files": "x.parquet", "template": {"prompt": "{q}", "answer": "{a}"}}}
            """);
        Assert.Equal((64, "exact_match"), (written.MaxNewTokens, written.Metrics.Single()));
        Assert.Equal(["\n"], written.Stop);
    }

    [Fact]
    public void All_faults_are_told_at_once_with_the_nearest_name()
    {
        var told = Faults("""
            {"kind": "multiple_choice", "data": {"files": "x.parquet", "template": {"prompt": "{q}", "answer": "{l}"}},
             "labels": ["a", "b"], "choices": [" {one}"], "contexts": ["x", "y"],
             "metrics": ["acc_nrom"], "rows": 0, "shots": {"count": 2, "cuont": 3}, "stop": "x"}
            """);
        string[] lines =
        [
            .. told.Split('\n')
                .Select(
                    line => string.Join(
                        "  ",
                        line.Split("  ", StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))),
        ];
        Assert.Equal("t.yaml has 7 faults:", lines[0]);
        Assert.Equal(
            [
                "line 2  choices  1; expected one text for each of the 2 labels.",
                "line 2  contexts  2; expected one text for each of the 1 choice, or none.",
                "line 3  metrics  'acc_nrom'; expected a metric of multiple_choice tasks: acc, acc_norm or acc_bytes. "
                    + "Did you mean acc_norm?",
                "line 3  rows  0; expected a whole number of at least 1.",
                "line 3  shots.cuont  unknown key. Did you mean count?",
                "line 3  stop  no key of multiple_choice tasks. Remove it, or choose kind: generation.",
                "shots.files  missing; expected the files that the shots are drawn from.",
            ],
            lines[1..].Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_file_without_kind_or_data_says_so() => Assert.Equal(
        """
        t.yaml has 2 faults:
          kind  missing; expected generation, multiple_choice, classification or perplexity.
          data  missing; expected a data set as in a recipe: files, columns, filter and template.
        """, Faults("{}"));

    [Fact]
    public void Plain_text_is_for_perplexity_alone()
    {
        Assert.Contains("data.template  text; expected prompt and answer for kind: generation.", Faults(
            """{"kind": "generation", "data": {"files": "x", "template": {"text": "{t}"}}}"""),
            StringComparison.Ordinal);
        Assert.Contains("data.template  prompt and answer; expected text alone for kind: perplexity.", Faults(
            """{"kind": "perplexity", "data": {"files": "x", "template": {"prompt": "{t}", "answer": "{t}"}}}"""),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Correlations_need_labels_that_are_numbers() => Assert.Contains(
        "low, high; expected numbers, which pearson and spearman compare with the answers.", Faults("""
            {"kind": "classification", "labels": ["low", "high"], "metrics": "pearson",
             "data": {"files": "x", "template": {"prompt": "{t}", "answer": "{t}"}}}
            """), StringComparison.Ordinal);

    private static string Faults(string json) => Assert.Throws<FaultsException>(() => Read(json)).Message;

    private static EvaluationTask Read(string json) => TaskReader.Read(ConfigJson.Parse(json, "t.yaml"), "t", "t.yaml");
}
