using System.Text.Json;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Tests.Results;

namespace Peft.Evaluation.Tests.Reports;

/// <summary>The page in a real browser, opened from disk.</summary>
public sealed class ReportPageTests(Browser browser) : IClassFixture<Browser>, IDisposable
{
    private const string Hostile =
        "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'>{{title}}";

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [ChromiumFact]
    public async Task Every_chart_is_drawn_without_an_error_or_a_request()
    {
        await using var page = await browser.Chromium.Open(Written(Samples.Model(Examples("fine"))));

        var charts = await page.Evaluate("""
            [...document.querySelectorAll('.chart')].map(chart => ({
              kind: chart.dataset.chart, shapes: chart.querySelectorAll('svg path, svg rect').length,
              texts: chart.querySelectorAll('svg text').length,
              width: chart.querySelector('svg')?.getBoundingClientRect().width ?? 0,
              height: chart.querySelector('svg')?.getBoundingClientRect().height ?? 0 }))
            """);
        Assert.Equal(
            [
                "bars", "bars", "loss", .. Enumerable.Repeat("profile", 6), "layers", "tasks", "distance", "similarity",
            ],
            charts.EnumerateArray().Select(c => c.GetProperty("kind").GetString()));
        Assert.All(charts.EnumerateArray(), chart => Assert.True(
            chart.GetProperty("shapes").GetInt32() > 3 && chart.GetProperty("texts").GetInt32() > 3
                && chart.GetProperty("width").GetDouble() > 200
                    && chart.GetProperty("height").GetDouble() > 80, chart.ToString()));
        Assert.Empty(page.Complaints);
        Assert.Empty(page.Requests);
    }

    [ChromiumFact]
    public async Task Bars_stand_for_the_values_and_heat_for_the_loads()
    {
        await using var page = await browser.Chromium.Open(Written(Samples.Model()));
        var texts = await page.Evaluate("[...document.querySelectorAll('[data-chart=bars] svg')].map(svg => "
            + "[...svg.querySelectorAll('text')].map(t => t.textContent))");
        Assert.Superset(new HashSet<string?>(["2.857", "0.378", "0.318", "base", "default-lora"]), Texts(texts[0]));
        Assert.Superset(new HashSet<string?>(["0.500", "0.870", "0.910"]), Texts(texts[1]));
        var loads = await page.Evaluate(
            "[...document.querySelectorAll('[data-chart=layers] svg text')].map(t => t.textContent)");
        Assert.Superset(new HashSet<string?>(["0.40", "0.10", "layer 2", "e3"]), Texts(loads));

        static HashSet<string?> Texts(JsonElement list) => [.. list.EnumerateArray().Select(t => t.GetString())];
    }

    [ChromiumTheory]
    [InlineData(420)]
    [InlineData(1200)]
    public async Task Bars_end_inside_their_card_and_their_axes_at_round_numbers(int width)
    {
        await using var page = await browser.Chromium.Open(Written(Samples.Model()), width: width, height: 900);
        var outside = await page.Evaluate("""
            [...document.querySelectorAll('[data-chart=bars]')].flatMap(chart => [...chart.querySelectorAll('text, path')]
              .filter(part => part.getBoundingClientRect().right > chart.getBoundingClientRect().right + 0.5)
              .map(part => part.textContent || part.outerHTML))
            """);
        Assert.Empty(outside.EnumerateArray());
        var ticks = await page.Evaluate("[...document.querySelectorAll('[data-chart=bars] svg')].map(svg => "
            + "[...svg.querySelectorAll('text')].map(t => t.textContent)"
            + ".filter(t => /^[0-9.]+$/.test(t) && t.length < 5))");
        Assert.Equal(["0", "1", "2", "3"], Texts(ticks[0])); // up to the whisker's end, 3.0
        Assert.Equal(["0", "0.2", "0.4", "0.6", "0.8", "1"], Texts(ticks[1]));

        static IEnumerable<string?> Texts(JsonElement list) => list.EnumerateArray().Select(t => t.GetString());
    }

    [ChromiumFact]
    public async Task A_chart_follows_the_width_of_its_card_before_the_page_is_painted()
    {
        await using var page = await browser.Chromium.Open(Written(Samples.Model()), width: 1200, height: 900);
        await page.Evaluate("""
            (document.querySelector('main').style.width = '380px',
              requestAnimationFrame(() => requestAnimationFrame(() => {
                window.widthsLeft = [...document.querySelectorAll('.chart')].map(chart =>
                  chart.querySelector('svg').getBoundingClientRect().width - chart.getBoundingClientRect().width);
              })))
            """);
        JsonElement widths;
        do
        {
            await Task.Delay(50);
            widths = await page.Evaluate("window.widthsLeft ?? null");
        }
        while (widths.ValueKind == JsonValueKind.Null);
        Assert.All(widths.EnumerateArray(), difference => Assert.Equal(0, difference.GetDouble(), 1));
    }

    [ChromiumFact]
    public async Task Routers_are_compared_line_by_line_over_layers_lengths_and_steps()
    {
        await using var page = await browser.Chromium.Open(
            Written(ReportBuilder.Build(SampleResults.WithTwoRouters(), [], [])));

        var lines = await page.Evaluate("""
            [...document.querySelectorAll('[data-chart=profile] svg')].map(svg => [...svg.querySelectorAll('path')]
              .filter(path => path.getAttribute('stroke-width') === '2.25').length)
            """);
        Assert.Equal([2, 1, 2, 2, 1, 2, 2], lines.EnumerateArray().Select(count => count.GetInt32()));
        var texts = await page.Evaluate(
            "[...document.querySelectorAll('[data-chart=profile] svg')].map(svg => [...svg.querySelectorAll('text')]"
            + ".map(text => text.textContent))");
        Assert.Superset(
            new HashSet<string?>(["layer", "0", "1", "2", "default", "default-lora"]),
            texts[0].EnumerateArray().Select(text => text.GetString()).ToHashSet());
        Assert.Superset(
            new HashSet<string?>(["tokens", "4", "16"]),
            texts[3].EnumerateArray().Select(text => text.GetString()).ToHashSet());
        Assert.Empty(page.Complaints);
    }

    [ChromiumFact]
    public async Task Text_of_models_does_nothing_wherever_it_stands()
    {
        var results = SampleResults.Make(adapter: Hostile);
        results = results with
        {
            Tasks = [results.Tasks[0] with { Data = Hostile }, .. results.Tasks.Skip(1)],
            Base = results.Base with { Name = Hostile },
        };
        await using var page = await browser.Chromium.Open(
            Written(ReportBuilder.Build(results, Examples(Hostile), [Hostile])));

        Assert.Equal(JsonValueKind.Null, (await page.Evaluate("window.harmed ?? null")).ValueKind);
        Assert.Equal(0, (await page.Evaluate("document.images.length")).GetInt32());
        Assert.Equal(3, (await page.Evaluate("document.scripts.length")).GetInt32());
        Assert.Equal(Hostile, (await page.Evaluate("document.querySelector('.example samp').textContent")).GetString());
        Assert.Equal(Hostile, (await page.Evaluate("document.querySelector('.prompt').textContent")).GetString());
        Assert.Equal(13, (await page.Evaluate("document.querySelectorAll('.chart svg').length")).GetInt32());
        Assert.Empty(page.Complaints);
        Assert.Empty(page.Requests);
    }

    [ChromiumFact]
    public async Task Markup_that_would_get_into_the_page_is_not_run_by_the_browser()
    {
        var file = Written(Samples.Model());
        File.WriteAllText(
            file,
            File.ReadAllText(file)
                .Replace(
                    "<main", "<script>window.harmed = 1</script><img src='x.png' onerror='window.harmed = 2'><main",
                    StringComparison.Ordinal));

        await using var page = await browser.Chromium.Open(file);

        Assert.Equal(JsonValueKind.Null, (await page.Evaluate("window.harmed ?? null")).ValueKind);
        Assert.NotEmpty(page.Complaints);
    }

    [ChromiumFact]
    public async Task Dark_and_light_follow_the_system_in_page_and_charts()
    {
        var file = Written(Samples.Model());
        const string Colors = """
            ({ paper: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
               chart: document.querySelector('[data-chart=bars] svg text').getAttribute('fill') })
            """;
        await using var light = await browser.Chromium.Open(file);
        await using var dark = await browser.Chromium.Open(file, scheme: "dark");
        var (day, night) = (await light.Evaluate(Colors), await dark.Evaluate(Colors));

        Assert.True(Brightness(day, "paper") > 220 && Brightness(day, "ink") < 60, day.ToString());
        Assert.True(Brightness(night, "paper") < 40 && Brightness(night, "ink") > 200, night.ToString());
        Assert.NotEqual(day.GetProperty("chart").GetString(), night.GetProperty("chart").GetString());
        Assert.Empty(dark.Complaints);

        static double Brightness(JsonElement colors, string name) =>
            colors.GetProperty(name).GetString()!.Split('(', ')')[1].Split(',').Take(3)
                .Average(part => double.Parse(part, System.Globalization.CultureInfo.InvariantCulture));
    }

    [ChromiumFact]
    public async Task On_a_narrow_screen_nothing_is_wider_than_the_screen()
    {
        await using var page = await browser.Chromium.Open(
            Written(Samples.Model(Examples(new string('x', 300)))), width: 340, height: 700);

        Assert.Equal(340, (await page.Evaluate("document.documentElement.scrollWidth")).GetInt32());
        Assert.Equal(0, (await page.Evaluate("[...document.querySelectorAll('.chart svg')].filter(svg => "
            + "svg.getBoundingClientRect().right > 340).length")).GetInt32());
        Assert.Empty(page.Complaints);
    }

    [ChromiumFact]
    public async Task It_can_be_read_without_eyes_and_without_a_mouse()
    {
        await using var page = await browser.Chromium.Open(Written(Samples.Model(Examples("fine"))));

        Assert.Equal(1, (await page.Evaluate("document.querySelectorAll('h1').length")).GetInt32());
        Assert.Equal(0, (await page.Evaluate("[...document.querySelectorAll('.chart')].filter(c => "
            + "c.getAttribute('role') != 'img' || c.getAttribute('aria-label').length < 20).length")).GetInt32());
        // A table behind every chart: in its figure, or right below the charts of its section.
        Assert.Equal(0, (await page.Evaluate("[...document.querySelectorAll('.chart')].filter(c => "
            + "!c.closest('figure').querySelector('table') && "
            + "!c.closest('section').querySelector('.metrics')).length")).GetInt32());
        Assert.Equal(
            0, (await page.Evaluate("[...document.querySelectorAll('th')].filter(th => !th.scope).length")).GetInt32());
        Assert.Equal(0, (await page.Evaluate("[...document.querySelectorAll('table')].filter(t => !t.caption || "
            + "!t.caption.textContent.trim()).length")).GetInt32());
        Assert.Equal(0, (await page.Evaluate("[...document.querySelectorAll('.scroll')].filter(s => s.tabIndex != 0 || "
            + "!s.getAttribute('aria-label')).length")).GetInt32());
        Assert.Equal(0, (await page.Evaluate("[...document.querySelectorAll('nav a, .skip')].filter(a => "
            + "!document.querySelector(a.getAttribute('href'))).length")).GetInt32());
        Assert.True((await page.Evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size == "
            + "document.querySelectorAll('[id]').length")).GetBoolean());

        await page.Press("Tab");
        Assert.Equal("skip", (await page.Evaluate("document.activeElement.className")).GetString());
        Assert.True((await page.Evaluate("document.activeElement.getBoundingClientRect().top >= 0")).GetBoolean());
    }

    [ChromiumFact]
    public async Task It_can_be_printed()
    {
        await using var page = await browser.Chromium.Open(Written(Samples.Model(Examples("fine"))), scheme: "dark");

        var pdf = await page.Print();

        Assert.True(pdf.Length > 20_000 && pdf.AsSpan().StartsWith("%PDF"u8));
        Assert.Empty(page.Complaints);
    }

    [ChromiumFact]
    public async Task Results_without_adapters_training_routing_or_rows_are_a_page_too()
    {
        var sample = SampleResults.Make();
        var bare = sample with
        {
            Subjects = [sample.Subjects[0]],
            Scores = [sample.Scores[0]],
            Comparisons = [],
            Routing = [],
        };
        await using var page = await browser.Chromium.Open(Written(ReportBuilder.Build(bare, [], [])));

        Assert.Equal(2, (await page.Evaluate("document.querySelectorAll('.chart svg').length")).GetInt32());
        Assert.Empty(page.Complaints);
    }

    private static List<ReportExamples> Examples(string text) =>
    [
        new("g2p",
        [
            new(3, text, text, "wrong",
            [
                new("default", text, false, "wrong", "0.000"), new("default-lora", text, true, "right", "1.000"),
            ]),
        ]),
    ];

    private string Written(ReportModel model)
    {
        File.WriteAllText(_folder["report.html"], ReportRenderer.Render(TemplateFile.Find("report.html"), model));
        return _folder["report.html"];
    }
}

/// <summary>One browser for all tests of a class; none is started where all are skipped.</summary>
public sealed class Browser : IDisposable
{
    private readonly Lazy<Chromium> _chromium = new();

    public Chromium Chromium => _chromium.Value;

    public void Dispose()
    {
        if (_chromium.IsValueCreated)
            _chromium.Value.Dispose();
    }
}
