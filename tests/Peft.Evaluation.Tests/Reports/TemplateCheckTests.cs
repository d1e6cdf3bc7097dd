using Peft.Evaluation.Reports;
using Peft.Evaluation.Tests.Results;
using Peft.Formats;

namespace Peft.Evaluation.Tests.Reports;

public sealed class TemplateCheckTests
{
    [Theory]
    [InlineData("{{titel}}", "t.md:1", "'titel'", "known here: title, created,", "did you mean title?")]
    [InlineData("a\nb\n{{#each subjects}}{{nome}}{{/each}}", "t.md:3", "'nome'", "known here: name, index,", "did you mean name?")]
    [InlineData("{{#each tasks}}\n{{#each metrics}}\n{{#if titel}}x{{/if}}{{/each}}{{/each}}", "t.md:3", "'titel'", "known here: task, name, label")]
    [InlineData("{{#each tasks}}{{../titel}}{{/each}}", "t.md:1", "'../titel'", "did you mean title?")]
    [InlineData("{{../title}}", "there is nothing further out")]
    [InlineData("{{verdict.headlin}}", "'verdict.headlin'", "known here: headline, detail, tone", "did you mean headline?")]
    [InlineData("{{#each subjects as |s|}}{{s.nme}}{{/each}}", "'s.nme'", "did you mean name?")]
    [InlineData("{{@root.titel}}", "'@root.titel'", "did you mean title?")]
    [InlineData("{{@index}}", "'@index'", "inside {{#each}} only")]
    [InlineData("{{tasks.name}}", "'tasks.name'", "a list: use {{#each}}")]
    [InlineData("{{tasks}}", "{{tasks}}", "a value, this is a list", "use {{#each tasks}}")]
    [InlineData("{{verdict}}", "a value, this has names: headline, detail, tone")]
    [InlineData("{{#each title}}{{/each}}", "a list", "print it with {{title}}")]
    [InlineData("{{#if title}}\n\n", "t.md:1", "{{#if}}", "a {{/if}} that closes it")]
    [InlineData("{{#if title}}\n{{/each}}", "t.md:2", "{{/each}}", "{{/if}}, which closes the one of line 1")]
    [InlineData("{{/if}}", "a block that is open: there is none")]
    [InlineData("{{else}}", "{{else}}", "inside {{#if}}")]
    [InlineData("x {{title", "{{title", "a tag that is closed with }}")]
    [InlineData("{{> header}}", "{{> header}}", "no partials")]
    [InlineData("{{#repeat 3}}{{/repeat}}", "{{#repeat 3}}", "a block: {{#if NAME}}, {{#unless NAME}}, {{#each NAME}}, {{#with NAME}}")]
    [InlineData("{{upper title}}", "{{upper title}}", "one name, or a helper: {{inline \"FILE\"}}")]
    [InlineData("{{{title}}}", "{{{title}}}", "{{NAME}}", "never put in as markup")]
    [InlineData("{{& title}}", "never put in as markup")]
    [InlineData("{{inline \"other.js\"}}", "one of \"report.css\", \"echarts.min.js\", \"report.js\"")]
    public void What_is_not_there_is_named_with_its_line_and_what_is_known_there(string template, params string[] parts)
    {
        var error = Assert.Throws<FaultsException>(() => Render(template));

        Assert.StartsWith("template t.md has 1 fault:", error.Message, StringComparison.Ordinal);
        Assert.All(parts, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Blocks_nest_to_a_depth_that_can_be_rendered()
    {
        Assert.Equal("x", Render(Nested(31)));
        Assert.Contains("at most 32 blocks inside one another", Assert.Throws<FaultsException>(() => Render(Nested(5000))).Message, StringComparison.Ordinal);

        static string Nested(int depth) => string.Concat(Enumerable.Repeat("{{#if title}}", depth)) + "x" + string.Concat(Enumerable.Repeat("{{/if}}", depth));
    }

    [Fact]
    public void All_faults_are_told_at_once_in_branches_not_taken_too()
    {
        var error = Assert.Throws<FaultsException>(() => Render("{{#if notes}}{{one}}{{else}}{{two}}{{/if}}\n{{#each examples}}{{three}}{{/each}}"));

        Assert.Equal(["'one'", "'two'", "'three'"], error.Items.Select(fault => fault.Found));
        Assert.Equal(["t.md:1", "t.md:1", "t.md:2"], error.Items.Select(fault => fault.Place));
    }

    [Theory]
    [InlineData("{{! a remark with {{ in it }}x", "x")]
    [InlineData("{{!-- {{nothing}} --}}x", "x")]
    [InlineData("{{#each subjects}}{{@index}}{{name}}{{#unless @last}},{{/unless}}{{/each}}", "0base,1default,2default-lora")]
    [InlineData("{{#with verdict}}{{tone}} {{../peft_version}}{{/with}}", "clear 0.1.0")]
    [InlineData("{{#each tasks}}{{#each metrics}}{{../../peft_version}}{{../name}} {{/each}}{{/each}}", "0.1.0g2p 0.1.0g2p 0.1.0spam ")]
    [InlineData("{{#each subjects as |s|}}{{s.name}} {{/each}}", "base default default-lora ")]
    [InlineData("{{#if notes}}a{{else if tasks}}b{{else}}c{{/if}}", "a")]
    [InlineData("{{#each adapters}}{{this.name}}{{#if is_base}}!{{/if}} {{/each}}{{@root.seed}}", "default default-lora 0")]
    public void What_is_there_is_rendered(string template, string text) => Assert.Equal(text, Render(template));

    [Fact]
    public void Every_template_that_comes_along_asks_for_what_is_there() =>
        Assert.All(TemplateFile.BuiltIn, name => Assert.NotEmpty(ReportRenderer.Render(TemplateFile.Find(name), Samples.Model())));

    private static string Render(string template) => ReportRenderer.Render(new("t.md", template, OutputFormat.Markdown), Samples.Model());
}

internal static class Samples
{
    public static ReportModel Model(IReadOnlyList<ReportExamples>? examples = null) => ReportBuilder.Build(SampleResults.Make(), examples ?? [], []);
}
