using System.Text.Json;
using System.Text.RegularExpressions;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tests.Results;
using Peft.Formats;

namespace Peft.Evaluation.Tests.Reports;

public sealed partial class ReportRendererTests : IDisposable
{
    private const string Hostile = "</script><script>alert(1)</script><img src=x onerror=\"alert(2)\">'`| *a* "
        + "[b](http://c) \u202Egnp\u0007\nnew {{title}}";

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Text_of_models_is_only_text_in_every_format()
    {
        var model = Samples.Model(
            [new("g2p", [new(1, Hostile, Hostile, "wrong", [new("default", Hostile, false, "wrong", "0.000")])])]);

        var html = Render("p.html", "<p title=\"{{ verdict.headline }}\">{{ for e in examples }}{{ for r in e.rows "
            + "}}{{ r.prompt }}{{ end }}{{ end }}</p>", model);
        Assert.DoesNotContain("<script", html, StringComparison.Ordinal);
        Assert.DoesNotContain("<img", html, StringComparison.Ordinal);
        Assert.Contains("&#60;/script&#62;&#60;script&#62;", html, StringComparison.Ordinal);
        Assert.Contains("onerror&#61;&#34;alert(2)&#34;&#62;&#39;&#96;", html, StringComparison.Ordinal);
        Assert.Contains("\uFFFDgnp\u2407\nnew {{title}}", html, StringComparison.Ordinal);

        var markdown = Render(
            "p.md", "{{ for e in examples }}{{ for r in e.rows }}{{ r.prompt }}{{ end }}{{ end }}", model);
        Assert.Equal("&lt;/script>&lt;script>alert(1)&lt;/script>&lt;img src=x onerror=\"alert(2)\">'\\`\\| \\*a\\* "
            + "\\[b\\](http:\\//c) \uFFFDgnp\u2407 new {{title}}", markdown);

        var text = Render(
            "p.txt", "{{ for e in examples }}{{ for r in e.rows }}{{ r.prompt }}{{ end }}{{ end }}", model);
        Assert.Equal(Hostile.Replace('\u202E', '\uFFFD').Replace('\u0007', '\u2407'), text);
    }

    [Theory]
    [InlineData("{{ x = examples[0].rows[0].prompt }}{{ x }}")]
    [InlineData("{{ '<script>' }}")]
    [InlineData("{{ examples[0].rows[0].prompt | string.upcase | string.downcase }}")]
    [InlineData("{{ capture x }}{{ examples[0].rows[0].prompt }}{{ end }}{{ x }}")]
    [InlineData("{{ func f }}{{ examples[0].rows[0].prompt }}{{ end }}{{ f }}")]
    [InlineData("{{ examples | object.to_json }}")]
    [InlineData("{{ examples[0].rows[0].prompt | html.escape | html.strip }}")]
    [InlineData("{{ chart_data + examples[0].rows[0].prompt }}")]
    [InlineData("{{ f = @string.upcase; '<script>' | f }}")]
    public void Nothing_that_a_template_can_write_gets_the_text_of_models_in_as_markup(string template)
    {
        var model = Samples.Model([new("g2p", [new(1, Hostile, Hostile, "wrong", [])])]);

        var html = Render("p.html", template, model);

        Assert.NotEqual("", html);
        Assert.DoesNotContain("<", html, StringComparison.Ordinal);
        Assert.DoesNotContain("\"", html, StringComparison.Ordinal);
    }

    [Fact]
    public void Data_of_the_charts_cannot_end_its_script_element()
    {
        var results = SampleResults.Make(adapter: "</script><b>");
        var json = ReportBuilder.Build(results, [], []).ChartsJson;

        Assert.DoesNotContain('<', json);
        Assert.Equal(
            "</script><b>",
            JsonDocument.Parse(json).RootElement.GetProperty("subjects")[1].GetProperty("name").GetString());
    }

    [Fact]
    public void The_page_is_one_file_that_asks_for_nothing()
    {
        var html = ReportRenderer.Render(TemplateFile.Find("report.html"), Samples.Model());
        var markup = Scripts().Replace(html, "");

        Assert.DoesNotContain(" src=", markup, StringComparison.Ordinal);
        Assert.DoesNotContain("url(", markup, StringComparison.Ordinal);
        Assert.DoesNotContain("@import", markup, StringComparison.Ordinal);
        Assert.Equal(
            ["data:,"], Links().Matches(markup).Select(m => m.Groups[1].Value).Where(link => !link.StartsWith('#')));
        Assert.Contains("default-src 'none'", markup, StringComparison.Ordinal);
    }

    [Fact]
    public void The_same_results_give_the_same_bytes()
    {
        Assert.All(TemplateFile.BuiltIn, name => Assert.Equal(
            ReportRenderer.Render(TemplateFile.Find(name), Samples.Model()),
            ReportRenderer.Render(TemplateFile.Find(name), Samples.Model())));
    }

    [Fact]
    public void Markdown_tables_have_as_many_cells_in_each_row()
    {
        foreach (var name in new[] { "report.md", "model-card.md" })
        {
            var lines = ReportRenderer.Render(TemplateFile.Find(name), Samples.Model()).Split('\n');
            for (var i = 1; i < lines.Length; i++)
            {
                if (lines[i].StartsWith('|') && lines[i - 1].StartsWith('|'))
                    Assert.True(Cells(lines[i]) == Cells(lines[i - 1]), $"{name}: {lines[i - 1]}\n{lines[i]}");
            }
            Assert.Contains(lines, line => line.StartsWith('|'));
        }

        static int Cells(string line) => Bars().Count(line);
    }

    [Theory]
    [InlineData(1, true, " Adapter: <b>default</b> <code>abdefault</code>, written 2026-11-22 10:00 UTC.")]
    [InlineData(2, true, " Adapters: <b>default</b> <code>abdefault</code>, written 2026-11-22 10:00 UTC; "
        + "<b>default-lora</b> <code>cd02</code>.")]
    [InlineData(12, true, " <a href=\"#about\">About the numbers</a> says which 12 adapters exactly.")]
    [InlineData(12, false, "")]
    public void The_head_says_which_adapters_these_are_where_that_is_known_and_short(
        int adapters, bool isKnown, string expected)
    {
        var results = SampleResults.Make();
        var own = results.Subjects.Where(subject => subject.Kind == Subject.AdapterKind).ToList();
        own[0] = own[0] with { Written = "2026-11-22T10:00:00Z" };
        own.AddRange(Enumerable.Range(own.Count, Math.Max(0, adapters - own.Count)).Select(
            i => own[1] with { Name = $"n{i}" }));
        results = results with
        {
            Subjects =
            [
                results.Subjects[0],
                .. own.Take(adapters).Select(
                    subject => isKnown ? subject : subject with { Fingerprint = null, Recipe = null }),
            ],
        };

        var html = ReportRenderer.Render(TemplateFile.Find("report.html"), ReportBuilder.Build(results, [], []));

        Assert.Equal(
            $"Measured 2026-11-22 17:40 UTC on <b>data/base</b> <code>d6671d84</code>.{expected}</p>",
            html.Split('\n').Single(line => line.StartsWith(
            "<p class=\"provenance\">", StringComparison.Ordinal))["<p class=\"provenance\">".Length..]);
        Assert.Equal(isKnown ? adapters : 0, html.Split(", fingerprint <code>").Length - 1);
        Assert.Equal(isKnown ? adapters : 0, html.Split("<summary>Recipe of ").Length - 1);
        Assert.DoesNotContain(": bundle", html, StringComparison.Ordinal);
    }

    [Fact]
    public void A_kind_that_is_the_name_again_is_left_out_and_what_was_not_resampled_is_not_said_to_be()
    {
        var results = SampleResults.Make();
        results = results with
        {
            Settings = results.Settings with { BootstrapSamples = 0 },
            Subjects =
            [
                .. results.Subjects.Select(subject => subject.Name != "default-lora" ? subject
                    : subject with { Method = "default-lora", Router = null }),
            ],
        };

        var html = ReportRenderer.Render(TemplateFile.Find("report.html"), ReportBuilder.Build(results, [], []));

        Assert.Contains("<b>default</b> <span class=\"muted\">mixture, top-k router</span></li>", html);
        Assert.Contains("<b>default-lora</b></li>", html);
        Assert.DoesNotContain("resamplings", html);
        Assert.Contains("<p>The intervals cover 95%. They and the p values were computed by the program that recorded "
            + "these results; p values are corrected for all comparisons (", html);
    }

    [Fact]
    public void The_summary_says_what_is_known_in_a_few_lines()
    {
        var text = ReportRenderer.Render(TemplateFile.Find("summary.txt"), Samples.Model());

        Assert.StartsWith(
            "default · default-lora on data/base\ndefault-lora is significantly better than default on 1 of 2 tasks.\n",
            text, StringComparison.Ordinal);
        Assert.Contains(
            "    default-lora: 0.318 (0.280 to 0.360), significantly better than every other\n", text,
            StringComparison.Ordinal);
        Assert.Contains("  g2p, default to default-lora: −0.060 (−0.100 to −0.020), p 0.020: default-lora is "
            + "significantly better\n", text, StringComparison.Ordinal);
        Assert.Contains(
            "Note: spam: 3 of 100 rows were longer than the context and cut from the left.\n", text,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_template_of_the_users_is_read_from_its_file()
    {
        File.WriteAllText(_folder["mine.txt.sbn"], "\uFEFF{{ title }}!");
        Assert.Equal(
            "default · default-lora!",
            ReportRenderer.Render(TemplateFile.Find(_folder["mine.txt.sbn"]), Samples.Model()));

        File.WriteAllText(_folder["mine.tpl"], "");
        Assert.Contains("the name does not tell what the template writes; expected a name that ends in .html, .md or "
            + ".txt (.sbn or .scriban may follow). Rename it: "
            + "", Refused(_folder["mine.tpl"]), StringComparison.Ordinal);
        File.WriteAllBytes(_folder["bytes.md"], [0xFF, 0xFE, 0xC0]);
        Assert.Contains(
            "bytes.md: not text in UTF-8. Save it as UTF-8.", Refused(_folder["bytes.md"]), StringComparison.Ordinal);
        Assert.Contains("--template: 'reprt.html' is not a file; expected a file, or one of peft's own templates: "
            + "report.html, report.md, model-card.md or summary.txt. Did you mean report.html?",
            Refused("reprt.html"), StringComparison.Ordinal);

        static string Refused(string template) =>
            Assert.Throws<UserException>(() => TemplateFile.Find(template)).Message;
    }

    [Fact]
    public void A_missing_chart_library_is_named_with_the_way_out()
    {
        var message = Assert.Throws<UserException>(() => ChartLibrary.Locate(_folder.Path)).Message;
        Assert.Contains("; expected the library that draws the charts of report.html. Run `make setup build`, or use "
            + "--template report.md.", message, StringComparison.Ordinal);

        File.WriteAllText(_folder["echarts.min.js"], "");
        Assert.Equal(_folder["echarts.min.js"], ChartLibrary.Locate(_folder.Path));
    }

    private static string Render(string name, string template, ReportModel model) =>
        ReportRenderer.Render(new(name, template, name.EndsWith(".html", StringComparison.Ordinal) ? OutputFormat.Html
            : name.EndsWith(".md", StringComparison.Ordinal) ? OutputFormat.Markdown : OutputFormat.Text), model);

    [GeneratedRegex("<script.*?</script>", RegexOptions.Singleline)]
    private static partial Regex Scripts();

    [GeneratedRegex("href=\"([^\"]*)\"")]
    private static partial Regex Links();

    [GeneratedRegex(@"(?<!\\)\|")]
    private static partial Regex Bars();
}
