using System.Diagnostics;
using Peft.Formats.Templates;
using Scriban.Runtime;

namespace Peft.Formats.Tests.Templates;

public sealed class TemplateEngineTests
{
    private static readonly Dictionary<string, object?> Row = new()
    {
        ["title"] = "Tea",
        ["label"] = 3,
        ["price"] = WrittenNumber.Of("1.10"),
        ["prices"] = TemplateValues.OfJson(System.Text.Json.JsonDocument.Parse(
            """[2.5, 1.10, 1.1, 10, {"b": 1.10, "a": []}]""").RootElement),
        ["isNew"] = true,
        ["none"] = null,
        ["date"] = "2024-01-02",
        ["first name"] = "Ada",
        ["tags"] = new List<string> { "a", "b" },
        ["answers"] = new Dictionary<string, object?> { ["text"] = "yes" },
    };

    [Theory]
    [InlineData("a {{ title }} b", "a Tea b")]
    [InlineData("{{ title | string.downcase }}", "tea")]
    [InlineData("{{ if label < 4 }}low{{ else }}high{{ end }}", "low")]
    [InlineData("{{ for tag in tags }}<{{ tag }}>{{ end }}", "<a><b>")]
    [InlineData("{{ answers.text }}", "yes")]
    [InlineData("{{ for pair in answers }}{{ pair.key }}={{ pair.value }}{{ end }}", "text=yes")]
    [InlineData("{{ price }} {{ price + 1 }} {{ price | string.size }}", "1.10 2.1 4")]
    [InlineData("{{ price > 1 && price < 2 }}", "true")]
    [InlineData("{{ price | object.to_json }}", "1.10")]
    [InlineData("{{ prices | object.to_json }}", "[2.5,1.10,1.1,10,{\"b\":1.10,\"a\":[]}]")]
    [InlineData("{{ {x: price, y: 'a\"', z: null} | object.to_json }}", "{\"x\":1.10,\"y\":\"a\\u0022\",\"z\":null}")]
    [InlineData("{{ prices | array.contains 1.1 }} {{ prices | array.contains price }}", "true true")]
    [InlineData("{{ prices | array.contains '1.10' }} {{ tags | array.contains 'b' }}", "false true")]
    [InlineData("{{ prices | array.limit 4 | array.sort | array.join ' ' }}", "1.10 1.1 2.5 10")]
    [InlineData("{{ prices | array.limit 4 | array.uniq | array.join ' ' }}", "2.5 1.10 10")]
    [InlineData("{{ tags | array.sort | array.join ' ' }}", "a b")]
    [InlineData("{{ [{n: price}, {n: 1}] | array.sort 'n' | array.map 'n' | array.join ' ' }}", "1 1.10")]
    [InlineData(
        "{{ price | object.typeof }} {{ price | math.is_number }} {{ price | math.format 'F3' }}", "number true 1.100")]
    [InlineData("{{ case price; when 1.1; 'yes'; else; 'no'; end }}", "yes")]
    [InlineData("{{ -price }}", "-1.1")]
    [InlineData("{{ isNew }}", "true")]
    [InlineData("{{ date }}", "2024-01-02")]
    [InlineData("{{ if none }}x{{ else }}-{{ end }}", "-")]
    [InlineData("{{ none ?? 'nothing' }}", "nothing")]
    [InlineData("{{ none | object.default 'nothing' }}", "nothing")]
    [InlineData("{{ if none == null }}null{{ end }}", "null")]
    [InlineData("{{ this['first name'] }}", "Ada")]
    [InlineData("{{ \"{\" }}title}", "{title}")]
    [InlineData("{{ x = title; x + x }}", "TeaTea")]
    [InlineData("{{ 1234.5 }} {{ 10 / 4.0 }}", "1234.5 2.5")]
    [InlineData("{{ 'héy😀' | spell }}", "h é y 😀")]
    [InlineData("{{ 'a😀b' | left 2 }}{{ 'ab' | left 9 }}", "a😀ab")]
    [InlineData(
        "{{ 'x: 1\n2;' | extract 'x: (.*?);' }}[{{ 'y' | extract 'x' }}]{{ 'abc' | extract 'b.' }}", "1\n2[]bc")]
    [InlineData("{{ 'Tea' | split_hash 100 }}", "48")]
    [InlineData("  {{ \"a\\nb\" }}", "  a\nb")]
    public void A_template_makes_a_text_of_values(string template, string expected) =>
        Assert.Equal(expected, Render(template));

    [Fact]
    public void Values_of_another_template_do_not_stay()
    {
        var engine = new TemplateEngine();
        var values = TemplateValues.OfPairs(Row);
        Assert.Equal("1", engine.Render(ParsedTemplate.Parse("{{ mine = 1; mine }}", "t"), values));
        Assert.Throws<TemplateException>(() => engine.Render(ParsedTemplate.Parse("{{ mine }}", "t"), values));
        Assert.False(values.ContainsKey("mine"));
    }

    [Fact]
    public void A_template_does_not_change_the_values()
    {
        var values = TemplateValues.OfPairs(Row);
        Assert.Equal("x", new TemplateEngine().Render(ParsedTemplate.Parse("{{ title = 'x'; title }}", "t"), values));
        Assert.Equal("Tea", values["title"]);
    }

    [Theory]
    [InlineData(
        "{{ titel }}",
        "t:1:4: unknown name 'titel'; expected title, label, price, prices, isNew, none, date, first name, tags or "
            + "answers.",
        "Did you mean title?")]
    [InlineData("\n{{ answers.txt }}", "t:2:12: unknown member 'txt'; expected text. Did you mean text?", "")]
    [InlineData("{{ title | upcase }}", "t:1:12: unknown name 'upcase'; expected title, label", "")]
    [InlineData("{{ none }}", "t:1:4: 'none' has no value.", "Test for it first: {{ if ... != null }}.")]
    [InlineData("{{ none | string.upcase }}", "t:1:4: 'none' has no value.", "")]
    [InlineData("{{ string.upcase none }}", "'none' has no value", "")]
    [InlineData(
        "{{ title }} {{ tags }}", "t:1:16: 'tags' is a list or an object; expected a text, a number, true or false.",
        "array.join")]
    [InlineData("{{ answers }}", "'answers' is a list or an object", "object.to_json")]
    [InlineData("{{ 10 / 0 }}", "t:1:4: '10 / 0' is no finite number; expected a number.", "Look for a division by 0")]
    [InlineData("{{ 0.0 / 0 }}", "'0.0 / 0' is no finite number", "")]
    [InlineData("{{ x = -1 / 0; x }}", "'x' is no finite number", "")]
    [InlineData("{{ title < 3 }}", "'title < 3' compares a text with a number", "string.to_int")]
    [InlineData("{{ '5' == 5 }}", "compares a text with a number", "")]
    [InlineData("{{ price == '1.10' }}", "compares a text with a number", "")]
    [InlineData(
        "{{ string.size title > 10 }}", "compares a text with a number",
        "Put a call that is compared in brackets: (string.size title) > 10.")]
    [InlineData(
        "{{ isNew == 'true' }}", "compares a text with true or false; expected two values of one type.",
        "'true' or 'false' in quotes")]
    [InlineData("{{ tags[7] }}", "t:1:", "")]
    [InlineData("{{ title.length }}", "unknown member 'length'.", "")]
    [InlineData("Q {{ title = }}", "t:1:14: 'Q {{ title = }}': a value is missing before }}.", "")]
    [InlineData("{{ title + }}", "'{{ title + }}': a value is missing before }}.", "scriban.github.io/docs")]
    [InlineData("{{ if }}x{{ end }}", "a value is missing before }}.", "")]
    [InlineData("{{ include 'x' }}", "unknown name 'include'", "")]
    [InlineData("{{ '1' | object.eval }}", "unknown member 'eval'; expected default, format,", "")]
    [InlineData("{{ date_now = 1; math.random 1 2 }}", "unknown member 'random'; expected abs,", "")]
    [InlineData("{{ title | string.to_int | math.plus 1 }}", "t:1:", "")]
    public void What_is_not_there_is_told(string template, string found, string advice)
    {
        var error = Assert.Throws<TemplateException>(() => Render(template));
        Assert.Contains(found, error.Message, StringComparison.Ordinal);
        Assert.Contains(advice, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_value_is_told_apart()
    {
        Assert.Equal("none", Assert.Throws<TemplateException>(() => Render("{{ none }}")).MissingValue);
        Assert.Null(Assert.Throws<TemplateException>(() => Render("{{ nome }}")).MissingValue);
    }

    [Fact]
    public void Null_is_printed_as_nothing_where_that_is_allowed()
    {
        var engine = new TemplateEngine(new TemplateOptions { AllowsNull = true });
        Assert.Equal("[]", engine.Render(ParsedTemplate.Parse("[{{ none }}]", "t"), TemplateValues.OfPairs(Row)));
    }

    [Fact]
    public void Printed_values_are_escaped_and_raw_ones_are_not()
    {
        var engine = new TemplateEngine(new TemplateOptions { Escape = System.Net.WebUtility.HtmlEncode! });
        var values = TemplateValues.OfPairs([new("x", "<b>")]);
        Assert.Equal(
            "<i>&lt;b&gt;<b></i>", engine.Render(ParsedTemplate.Parse("<i>{{ x }}{{ x | raw }}</i>", "t"), values));
    }

    [Fact]
    public void Further_functions_can_be_called()
    {
        var engine = new TemplateEngine(
            new TemplateOptions
            {
                Functions = new Dictionary<string, Delegate> { ["twice"] = (string text) => text + text }
            });
        Assert.Equal(
            "TeaTea", engine.Render(ParsedTemplate.Parse("{{ title | twice }}", "t"), TemplateValues.OfPairs(Row)));
    }

    [Theory]
    [InlineData("label < 4", true)]
    [InlineData("{{ label < 4 }}", true)]
    [InlineData("label == 3\n  && title == 'Tea'", true)]
    [InlineData("none == 3", false)]
    [InlineData("none < 3", false)]
    [InlineData("none", null)]
    [InlineData("(string.size title) > 10", false)]
    [InlineData("title.size > 2", true)]
    [InlineData("(title | split_hash 100) < 95", true)]
    public void An_expression_has_a_value(string expression, object? expected) =>
        Assert.Equal(
            expected, new TemplateEngine()
            .Evaluate(ParsedTemplate.ParseExpression(expression, "f"), TemplateValues.OfPairs(Row)));

    [Theory]
    [InlineData("label = 3", "Compare two values with ==.")]
    [InlineData("label == 3; title", "one expression")]
    [InlineData("if label", "f:1:")]
    [InlineData("label <> 3 AND title LIKE 'x'", "SQL is not understood here")]
    [InlineData("", "one expression")]
    public void What_is_no_expression_is_refused(string expression, string words) =>
        Assert.Contains(
            words, Assert.Throws<TemplateException>(() => ParsedTemplate.ParseExpression(expression, "f")).Message,
            StringComparison.Ordinal);

    [Fact]
    public void All_faults_of_the_syntax_are_told_with_their_places()
    {
        var error = Assert.Throws<TemplateException>(() => ParsedTemplate.Parse("{{ 1 + }}\n{{ if }}x", "report.html"));
        Assert.Equal([1, 2], error.Faults.Select(fault => fault.Line).Distinct());
        Assert.Contains("report.html:1:", error.Message, StringComparison.Ordinal);
        Assert.Contains("report.html:2:", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_from_outside_are_those_the_template_does_not_make()
    {
        var template = ParsedTemplate.Parse(
            "{{ x = title; func f(y); ret y + z; end; for w in tags; w.text; for.index; end }}{{ f label }}{label "
                + "text}{\"a\": 1}", "t", shortForm: true);
        Assert.Equal(["title", "z", "tags", "label", "label text"], template.Names);
        Assert.Equal(
            ["z", "label text"], template.Unknown(["title", "tags", "label"], _ => false)
            .Select(fault => fault.Found.Split('\'')[1]));
    }

    [Theory]
    [InlineData("a {title} b", "a Tea b")]
    [InlineData("{first name}", "Ada")]
    [InlineData("{title}{title}", "TeaTea")]
    [InlineData("{\"a\": {title}}", "{\"a\": Tea}")]
    [InlineData("{\"a\": 1} { title } {} {1} {a: b}", "{\"a\": 1} { title } {} {1} {a: b}")]
    [InlineData("{{ if isNew }}{title}{{ end }}", "Tea")]
    [InlineData("{{ '{title}' }}", "{title}")]
    [InlineData("{%{{title}}%}", "{title}")]
    public void A_name_in_single_braces_is_a_value(string template, string expected) =>
        Assert.Equal(
            expected, new TemplateEngine()
            .Render(ParsedTemplate.Parse(template, "t", shortForm: true), TemplateValues.OfPairs(Row)));

    [Fact]
    public void The_place_of_a_short_form_is_that_of_its_braces()
    {
        var fault = Assert.Single(
            ParsedTemplate.Parse("x\nyy {titel}", "t", shortForm: true).Unknown(["title"], _ => false));
        Assert.Equal((2, 4), (fault.Line, fault.Column));
    }

    private static string Render(string template) =>
        new TemplateEngine().Render(ParsedTemplate.Parse(template, "t"), TemplateValues.OfPairs(Row));
}

/// <summary>Templates that a stranger may have written: each ends soon, with one clear message.</summary>
public sealed class TemplateLimitsTests
{
    private static readonly TemplateLimits Small = new()
    {
        Loops = 100_000,
        Characters = 1 << 20,
        Bytes = 256L << 20,
        Time = TimeSpan.FromSeconds(20), // the machine may be busy
        RegexTime = TimeSpan.FromMilliseconds(200),
    };

    [Theory]
    [InlineData("{{ while true; end }}", "a loop runs too long; expected at most 100,000 iterations.")]
    [InlineData("{{ for i in 1..2000000000; end }}", "a loop runs too long; expected at most 100,000 iterations.")]
    [InlineData(
        "{{ for i in 1..100000; for j in 1..100000; end; end }}",
        "a loop runs too long; expected at most 100,000 iterations.")]
    [InlineData("{{ 1..1000000000 | array.size }}", "a loop runs too long; expected at most 100,000 iterations.")]
    [InlineData(
        "{{ a = [1]; for i in 1..40; a = a + a; end; a | array.size }}",
        "a loop runs too long; expected at most 100,000 iterations.")]
    [InlineData(
        "{{ a = [1]; for i in 1..40; a = a | array.add_range a; end; a | array.size }}",
        "a loop runs too long; expected at most 100,000 iterations.")]
    [InlineData("{{ a = 'A'; for i in 1..40; a = a + a; end }}", "the text grows too long")]
    [InlineData("{{ a = 'A'; for i in 1..40; a = a | string.append a; end }}", "the text grows too long")]
    [InlineData("{{ a = 'A'; for i in 1..40; a = a | string.replace 'A' 'AAAA'; end }}", "the text grows too long")]
    [InlineData("{{ 'x' * 1000000000 }}", "the text grows too long")]
    [InlineData("{{ 'x' | string.pad_left 1000000000 }}", "the text grows too long")]
    [InlineData("{{ 1.5 | object.format 'F999999999' }}", "the text grows too long")]
    [InlineData(
        "{{ for i in 1..5000; 'a text of some length that is written over and over again, without end, so that memory "
            + "is full' * 9; end }}", "the text grows too long")]
    [InlineData("{{ func f; f; end; f }}", "nested too deeply")]
    [InlineData("{{ a = [1]; for i in 1..200; a = [a, a]; end; a | object.to_json }}", "nested too deeply")]
    [InlineData(
        "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' | regex.match '(a+)+$' }}",
        "the regular expression takes too long; expected at most 0.2 s.")]
    [InlineData(
        "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' | extract '(a+)+$' }}",
        "the regular expression takes too long; expected at most 0.2 s.")]
    [InlineData("{{ a = {}; for i in 1..90000; a['k' + i] = 'x' * 1000000; end }}", "takes too much memory")]
    [InlineData("{{ x = 1..90000; for i in 1..90000; y = x | array.size; end }}", "takes too much memory")]
    [InlineData("{{ x = 9; for i in 1..60; x = x * x; end }}", "exceeds the maximum")]
    public void A_template_that_would_take_the_machine_is_stopped(string template, string words)
    {
        var watch = Stopwatch.StartNew();
        var engine = new TemplateEngine(new TemplateOptions { Limits = Small });
        var error = Assert.Throws<TemplateException>(() => engine.Render(ParsedTemplate.Parse(template, "t"), []));
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
        Assert.StartsWith("t:1:", error.Message, StringComparison.Ordinal);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(30), $"{watch.Elapsed}");
    }

    [Fact]
    public void A_template_that_takes_time_and_no_memory_is_stopped()
    {
        var engine = new TemplateEngine(
            new TemplateOptions
            {
                Limits = Small with { Bytes = long.MaxValue, Time = TimeSpan.FromMilliseconds(300) },
            });
        var template = ParsedTemplate.Parse("{{ func f(n); if n > 0; f(n - 1); f(n - 1); end; end; f 80 }}", "t");
        Assert.Contains(
            "takes too long; expected at most 0.3 s for one rendering.",
            Assert.Throws<TemplateException>(() => engine.Render(template, [])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Limits_are_those_of_one_rendering()
    {
        var engine = new TemplateEngine(
            new TemplateOptions { Limits = Small with { Characters = 1000, Loops = 100, Depth = 10 } });
        var template = ParsedTemplate.Parse(
            "{{ func f(x); ret x; end; for i in 1..60; f 'x'; end; a = (1..60 | array.size); 'y' * 300 }}", "t");
        for (var round = 0; round < 500; round++)
            Assert.Equal(360, engine.Render(template, []).Length);
        var expression = ParsedTemplate.ParseExpression("(1..60 | array.size) > 3", "e");
        for (var round = 0; round < 500; round++)
            Assert.Equal(true, engine.Evaluate(expression, []));
    }

    [Fact]
    public void An_engine_works_on_after_a_template_was_stopped()
    {
        var engine = new TemplateEngine(new TemplateOptions { Limits = Small });
        Assert.Throws<TemplateException>(() => engine.Render(ParsedTemplate.Parse("{{ func f; f; end; f }}", "t"), []));
        Assert.Throws<TemplateException>(
            () => engine.Render(ParsedTemplate.Parse("{{ for i in 1..3; capture x; nope; end; end }}", "t"), []));
        Assert.Equal("2", engine.Render(ParsedTemplate.Parse("{{ 1 + 1 }}", "t"), []));
    }

    [Fact]
    public void A_rendering_can_be_cancelled()
    {
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        var engine = new TemplateEngine(new TemplateOptions { Cancellation = stop.Token });
        Assert.ThrowsAny<OperationCanceledException>(
            () => engine.Render(ParsedTemplate.Parse("{{ for i in 1..9; end }}", "t"), []));
    }

    [Fact]
    public void A_text_nested_beyond_reason_is_refused() =>
        Assert.Throws<TemplateException>(
            () => ParsedTemplate.Parse("{{ " + new string('(', 5000) + "1" + new string(')', 5000) + " }}", "t"));

    [Fact]
    public void No_member_of_a_dotnet_type_is_within_reach()
    {
        var engine = new TemplateEngine();
        Assert.Throws<ArgumentException>(() => TemplateValues.Of(new Uri("file:///etc/passwd")));
        Assert.Throws<TemplateException>(
            () => engine.Render(
                ParsedTemplate.Parse("{{ x.day_of_week }}", "t"),
                new Scriban.Runtime.ScriptObject { ["x"] = new Version(1, 2) }));
        Assert.Throws<TemplateException>(
            () => engine.Render(
                ParsedTemplate.Parse("{{ x.major }}", "t"),
                new Scriban.Runtime.ScriptObject { ["x"] = new Version(1, 2) }));
    }
}
