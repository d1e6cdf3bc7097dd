using System.Text.Json;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary><c>peft report</c> as a process.</summary>
public sealed class ReportTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_report_is_written_and_what_it_says_is_printed()
    {
        _folder.Write("e/results.json", Results());

        var run = Report("e", "--output", "out/report.md", "--template", "report.md").Succeeds();

        Assert.Equal("", run.Output);
        run.Says("one was measured alone.", "out/report.md: written");
        Assert.Contains("| task | accuracy, higher is better | 10 | 0.500 (0.200 to 0.800) |",
            File.ReadAllText(_folder["out/report.md"]));

        Report("e/results.json", "--output", "out/report.html").Succeeds();
        Assert.StartsWith("<!doctype html>", File.ReadAllText(_folder["out/report.html"]));
    }

    [Fact]
    public void An_existing_file_stays_unless_told_otherwise()
    {
        _folder.Write("e/results.json", Results());
        _folder.Write("report.txt", "mine");

        Report("e", "--template", "summary.txt", "--output",
            "report.txt").IsRefused(
            "report.txt: the file exists already. Name another with --output, or replace it with --overwrite.");
        Assert.Equal("mine", File.ReadAllText(_folder["report.txt"]));

        Report("e", "--template", "summary.txt", "--output", "report.txt", "--overwrite").Succeeds();
        Assert.StartsWith("one on data/base\n", File.ReadAllText(_folder["report.txt"]));
    }

    [Fact]
    public void Bad_input_is_told_in_one_message_and_nothing_is_written()
    {
        _folder.Write("a/results.json", Results());
        _folder.Write("b/results.json", Results(hash: "other"));
        _folder.Write("cut/results.json", Results()[..200]);
        _folder.Write("later/results.json",
            Results().Replace("\"version\":1", "\"version\":7", StringComparison.Ordinal));
        _folder.Write("mine.html", "<p>\n{{ subjcts }}</p>");

        Report("a", "--output", "o.pdf").IsRefused(
            "--output o.pdf: ends in .pdf, and report.html writes HTML; expected a name that ends in .html or .htm.\n");
        Report("a", "--template", "report.md", "--output", "o.html").IsRefused(
            "--output o.html: ends in .html, and report.md writes Markdown; expected a name that ends in .md, "
            + ".markdown or .txt.\n");
        Report("none", "--output", "o.html").IsRefused("none", "no such file");
        Report("cut", "--output", "o.html").IsRefused("cut/results.json", "not a whole results file", "cut short");
        Report("later", "--output", "o.html").IsRefused("later/results.json", "version 7 of peft.results", "version 1",
            "newer peft");
        Report("a", "b", "--output", "o.html")
            .IsRefused("joining the results has 1 fault", "task 'task' has 10 other rows",
            "one peft eval");
        Report("a", "--template", "mine.html", "--output", "o.html").IsRefused("mine.html:2:4", "'subjcts'",
            "known here: title", "Did you mean subjects?");
        _folder.Write("endless.md", "# {{ title }}\n{{ while true; 'x'; end }}");
        Report("a", "--template", "endless.md", "--output", "o.md")
            .IsRefused("endless.md:2:", "a loop runs too long; expected at most 1,000,000 iterations.");
        Report("a", "--template", "nothing.html", "--output", "o.html").IsRefused("nothing.html", "summary.txt");
        Report("a").IsRefused("--output is missing");

        Assert.False(File.Exists(_folder["o.html"]));
    }

    [Fact]
    public void Routers_of_several_results_are_compared_in_the_page_and_in_the_text()
    {
        _folder.Write("a/results.json", Results(bundle: "one", routing: Routing("one", 0.25, [0.5, 0.5])));
        _folder.Write("b/results.json", Results(bundle: "two", routing: Routing("two", 0.75, [0.9, 0.1])));

        Report("a", "b/results.json", "--template", "report.md", "--output", "o.md").Succeeds();
        Report("a", "b/results.json", "--output", "o.html").Succeeds();
        Report("a", "--output", "alone.html").Succeeds();

        var text = File.ReadAllText(_folder["o.md"]);
        Assert.Contains(
            "two tells the tasks apart most: task information 0.75 of 1. two keeps its experts longest (SRP of 16 "
                + "tokens 0.75). one spreads its load most evenly (1.00 of even).", text);
        Assert.Contains("| one | top-k | 1.00 of 2 | 0.25 | – | 1.00 | 0 | 0.72 | 0.25 | – | – |", text);
        Assert.Contains("| two | top-k | 1.00 of 2 | 0.75 | – | 0.61 | 0 | 0.72 | 0.75 | – | – |", text);
        Assert.Contains("Task information by layer (layer)\n\n| adapter | 3 |", text);
        Assert.Contains(">Routers compared</h3>", File.ReadAllText(_folder["o.html"]));
        Assert.DoesNotContain(">Routers compared</h3>", File.ReadAllText(_folder["alone.html"]));
        Assert.Contains("<b>Task information by layer</b>", File.ReadAllText(_folder["alone.html"]));
    }

    private static object Routing(string subject, double share, double[] load) => new
    {
        subject,
        tasks = new[] { "task", "other" },
        modules = new[]
        {
            new
            {
                name = "model.layers.3.q_proj", layer = 3, projection = "q_proj", load, mean_probability = load,
                entropy = 0.5, effective_support_size = 1, experts_per_token = 1, dead_experts = 0,
                task_information = share,
            },
        },
        expert_by_task = (object?)null,
        similarity = (object?)null,
        srp = new { segments = new[] { 16 }, values = new[] { share } },
        sch = (object?)null,
    };

    private ProgramRun Report(params string[] words) => PeftProcess.Run(_folder, ["report", .. words]);

    private static string Results(
        string hash = "aa", string bundle = "one", object? routing = null) => JsonSerializer.Serialize(new
        {
            format = "peft.results",
            version = 1,
            created = "2026-11-22T17:40:00Z",
            peft_version = "0.1.0",
            settings = new
            {
                seed = 0,
                batch_size = 1,
                dtype = "float32",
                bootstrap_samples = 10,
                confidence = 0.95,
                correction = "holm"
            },
            @base = new { name = "data/base", fingerprint = "ff" },
            subjects = new[]
        {
            new
            {
                name = bundle, kind = "adapter", path = "adapters/one", method = "lora",
                router = routing is null ? null : "top-k",
                fingerprint = hash, trainable_parameters = 5,
                step_seconds = (double?)null, peak_memory_bytes = (long?)null, evaluation_seconds = 1.5,
                recipe = (object?)null, training = (object?)null,
            },
        },
            tasks = new[]
        {
            new
            {
                name = "task", kind = "classification", data = "t.parquet", rows = 10, rows_hash = hash, truncated = 0,
                ties = 0, shots = 0,
                metrics = new[] { new { name = "accuracy", higher_is_better = true, main = true, unit = "rate" } },
            },
        },
            scores =
            new[] { new { subject = bundle, task = "task", metric = "accuracy", value = 0.5, low = 0.2, high = 0.8,
            rows = 10 } },
            comparisons = Array.Empty<object>(),
            routing = routing is null ? Array.Empty<object>() : [routing],
        });
}
