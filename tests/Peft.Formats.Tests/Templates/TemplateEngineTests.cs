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
    [InlineData("{{ 'x: 1\n2;' | extract 'x: (.*?);' }}[{{ 'y' | extract 'x' }}]{{ 'abc' | extract 'b.' }}", "1\n2[]bc")]
    [InlineData("{{ 'Tea' | split_hash 100 }}", "48")]
    [InlineData("  {{ \"a\\nb\" }}", "  a\nb")]
    public void A_template_makes_a_text_of_values(string template, string expected) => Assert.Equal(expected, Render(template));

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
    [InlineData("{{ titel }}", "t:1:4 - 'titel' is not there - known here: title, label", "did you mean title?")]
    [InlineData("\n{{ answers.txt }}", "t:2:12 - 'txt' is not there - known here: text - did you mean text?", "")]
    [InlineData("{{ title | upcase }}", "'upcase' is not there", "")]
    [InlineData("{{ none }}", "t:1:4 - 'none' has no value", "ask before")]
    [InlineData("{{ none | string.upcase }}", "t:1:4 - 'none' has no value", "")]
    [InlineData("{{ string.upcase none }}", "'none' has no value", "")]
    [InlineData("{{ title }} {{ tags }}", "t:1:16 - 'tags' is a list or an object", "array.join")]
    [InlineData("{{ answers }}", "'answers' is a list or an object", "object.to_json")]
    [InlineData("{{ title < 3 }}", "'title < 3' compares a text with a number", "string.to_int")]
    [InlineData("{{ '5' == 5 }}", "compares a text with a number", "")]
    [InlineData("{{ price == '1.10' }}", "compares a text with a number", "")]
    [InlineData("{{ string.size title > 10 }}", "compares a text with a number", "needs brackets")]
    [InlineData("{{ isNew == 'true' }}", "compares a text with a truth value", "'true' or 'false' in quotes")]
    [InlineData("{{ tags[7] }}", "t:1:", "")]
    [InlineData("{{ title.length }}", "'length' is not there", "")]
    [InlineData("{{ include 'x' }}", "'include' is not there", "")]
    [InlineData("{{ '1' | object.eval }}", "'eval' is not there", "")]
    [InlineData("{{ date_now = 1; math.random 1 2 }}", "'random' is not there", "")]
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
        Assert.Equal("<i>&lt;b&gt;<b></i>", engine.Render(ParsedTemplate.Parse("<i>{{ x }}{{ x | raw }}</i>", "t"), values));
    }

    [Fact]
    public void Further_functions_can_be_called()
    {
        var engine = new TemplateEngine(new TemplateOptions { Functions = new Dictionary<string, Delegate> { ["twice"] = (string text) => text + text } });
        Assert.Equal("TeaTea", engine.Render(ParsedTemplate.Parse("{{ title | twice }}", "t"), TemplateValues.OfPairs(Row)));
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
        Assert.Equal(expected, new TemplateEngine().Evaluate(ParsedTemplate.ParseExpression(expression, "f"), TemplateValues.OfPairs(Row)));

    [Theory]
    [InlineData("label = 3", "compared with ==")]
    [InlineData("label == 3; title", "one expression")]
    [InlineData("if label", "f:1:")]
    [InlineData("label <> 3 AND title LIKE 'x'", "SQL is not understood here")]
    [InlineData("", "one expression")]
    public void What_is_no_expression_is_refused(string expression, string words) =>
        Assert.Contains(words, Assert.Throws<TemplateException>(() => ParsedTemplate.ParseExpression(expression, "f")).Message, StringComparison.Ordinal);

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
            "{{ x = title; func f(y); ret y + z; end; for w in tags; w.text; for.index; end }}{{ f label }}{label text}{\"a\": 1}", "t", shortForm: true);
        Assert.Equal(["title", "z", "tags", "label", "label text"], template.Names);
        Assert.Equal(["z", "label text"], template.Unknown(["title", "tags", "label"], _ => false).Select(fault => fault.Found.Split('\'')[1]));
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
        Assert.Equal(expected, new TemplateEngine().Render(ParsedTemplate.Parse(template, "t", shortForm: true), TemplateValues.OfPairs(Row)));

    [Fact]
    public void The_place_of_a_short_form_is_that_of_its_braces()
    {
        var fault = Assert.Single(ParsedTemplate.Parse("x\nyy {titel}", "t", shortForm: true).Unknown(["title"], _ => false));
        Assert.Equal((2, 4), (fault.Line, fault.Column));
    }

    private static string Render(string template) =>
        new TemplateEngine().Render(ParsedTemplate.Parse(template, "t"), TemplateValues.OfPairs(Row));
}
