using Peft.Evaluation.Reports;
using Peft.Evaluation.Tests.Results;
using Peft.Formats;
using Peft.Formats.Templates;

namespace Peft.Evaluation.Tests.Reports;

public sealed class TemplateCheckTests
{
    [Theory]
    [InlineData("{{ titel }}", "t.md:1:4", "'titel'", "; expected a name known here: title, "
        + "created,", "Did you mean title?")]
    [InlineData("a\nb\n{{ for s in subjects }}{{ s.nome }}{{ end "
        + "}}", "t.md:3:27", "'s.nome'", "; expected a name known here: name, index,", "Did you mean name?")]
    [InlineData("{{ for task in tasks }}\n{{ for m in task.metrics }}\n{{ if m.titel }}x{{ end }}{{ end }}{{ end "
        + "}}", "t.md:3:7", "'m.titel'", "; expected a name known here: task, name, label")]
    [InlineData("{{ verdict.headlin }}", "'verdict.headlin'", "; expected a name known here: headline, detail or "
        + "tone.", "Did you mean headline?")]
    [InlineData("{{ with verdict }}{{ headlin }}{{ end }}", "'headlin'", "Did you mean headline?")]
    [InlineData("{{ x = subjects[0] }}{{ x.nme }}", "'x.nme'", "Did you mean name?")]
    [InlineData("{{ (subjects | array.reverse | array.first).nme }}", "Did you mean name?")]
    [InlineData("{{ for s in subjects }}{{ end }}{{ s.name }}", "'s'")]
    [InlineData("{{ for.index }}", "'for.index'", " outside of a loop; expected it inside {{ for ... }}")]
    [InlineData("{{ for s in subjects }}{{ for.lst }}{{ end }}", "t.md:1:27", "lst")]
    [InlineData("{{ tasks.name }}", "'tasks.name'", "Use {{ for item in tasks }}")]
    [InlineData("{{ title.name }}", "'title.name'; expected no name after a value. Write {{ title }}.")]
    [InlineData("{{ tasks }}", "'tasks', a list; expected a value. ", "Use {{ for item in tasks }}")]
    [InlineData("{{ verdict }}", "'verdict', an object; expected a value. Its names are headline, detail and tone: "
        + "print verdict.headline.")]
    [InlineData("{{ for x in title }}{{ end }}", "a list. Print it with {{ title }}.")]
    [InlineData("{{ if notes }}x{{ end }}", "'notes', which is always true; expected something that is true or false. "
        + "Ask notes.size > 0.")]
    [InlineData("{{ if !title }}x{{ end }}", "'title', which is always true; expected something that is true or false. "
        + "Ask title != \"\".")]
    [InlineData("{{ title ? 'x' : 'y' }}", "always true")]
    [InlineData("{{ if title != '' }}\n\n", "t.md:")]
    [InlineData("{{ end }}", "t.md:1:")]
    [InlineData("{{ else }}", "t.md:1:")]
    [InlineData("x {{ title", "t.md:1:3", "'{{' is not closed")]
    [InlineData("{{ if }}x{{ end }}", "t.md:1:")]
    [InlineData("{{#each tasks}}{{name}}{{/each}}", "t.md:1:", "Blocks are written {{ for subject in subjects }}")]
    [InlineData("{{ include 'header' }}", "'include'")]
    [InlineData("{{ import verdict }}", "'import verdict'", "one by one")]
    [InlineData("{{ this['title'] }}", "'this'", "one by one")]
    [InlineData("{{ func f(b, b) }}{{ b }}{{ end }}", "two parameters 'b'; expected names that differ.")]
    [InlineData("{{ uper title }}", "'uper'", "expected a name known here: title")]
    [InlineData("{{ title | string.upcas }}", "'string.upcas'", "Did you mean upcase?")]
    [InlineData("{{ title | raw }}", "'raw'; expected {{ NAME }}. What models wrote is never inserted as markup.")]
    [InlineData("{{ x = @raw }}", "'raw'", "never inserted as markup")]
    [InlineData("{{ inline \"other.js\" }}", "expected \"report.css\", \"echarts.min.js\" or \"report.js\".")]
    public void What_is_not_there_is_named_with_its_place_and_what_is_known_there(
        string template, params string[] parts)
    {
        var error = Assert.Throws<FaultsException>(() => Render(template));

        Assert.Matches("^template t.md has [12] faults?:\n  t.md:", error.Message);
        Assert.All(parts, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Blocks_nest_to_a_depth_that_can_be_rendered()
    {
        Assert.Equal("x", Render(Nested(30)));
        Assert.Contains(
            "at most 32 blocks inside one another", Assert.Throws<FaultsException>(() => Render(Nested(60))).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "nested too deeply", Assert.Throws<FaultsException>(() => Render(Nested(100_000))).Message,
            StringComparison.Ordinal);
        var pipes = "{{ title" + string.Concat(Enumerable.Repeat(" | string.upcase", 20_000)) + " }}";
        Assert.Contains(
            "nested too deeply", Assert.Throws<FaultsException>(() => Render(pipes)).Message,
            StringComparison.Ordinal);

        static string Nested(int depth) =>
            string.Concat(Enumerable.Repeat("{{ if title != '' }}", depth)) + "x"
                + string.Concat(Enumerable.Repeat("{{ end }}", depth));
    }

    [Fact]
    public void All_faults_are_told_at_once_in_branches_not_taken_too()
    {
        var error = Assert.Throws<FaultsException>(() => Render(
            "{{ if notes.size > 0 }}{{ one }}{{ else }}{{ two }}{{ end }}\n{{ for e in examples }}{{ three }}{{ end "
                + "}}{{ func f(x); x + four; end }}"));

        Assert.Equal(["'one'", "'two'", "'three'", "'four'"], error.Items.Select(fault => fault.Found));
        Assert.Equal(["t.md:1:27", "t.md:1:46", "t.md:2:27", "t.md:2:62"], error.Items.Select(fault => fault.Place));
    }

    [Theory]
    [InlineData("{{ # a remark }}x", "x")]
    [InlineData("{{ ## a remark\n of lines ## }}x", "x")]
    [InlineData("{{ for s in subjects }}{{ for.index }}{{ s.name }}{{ if !for.last }},{{ end }}{{ end "
        + "}}", "0base,1default,2default-lora")]
    [InlineData("{{ with verdict }}{{ tone }} {{ peft_version }}{{ end }}", "clear 0.1.0")]
    [InlineData("{{ for t in tasks }}{{ for m in t.metrics }}{{ peft_version }}{{ t.name }} {{ end }}{{ end "
        + "}}", "0.1.0g2p 0.1.0g2p 0.1.0spam ")]
    [InlineData("{{ if notes.size > 0 }}a{{ else if tasks.size > 0 }}b{{ else }}c{{ end }}", "a")]
    [InlineData("{{ for a in adapters }}{{ a.name }}{{ if a.is_base }}!{{ end }} {{ end }}{{ seed "
        + "}}", "default default-lora 0")]
    [InlineData("{{ x = subjects[1].name }}{{ x | string.upcase }}", "DEFAULT")]
    [InlineData("{{ subjects | array.map 'name' | array.join '+' }}", "base+default+default-lora")]
    [InlineData("{{ func twice(x); x + x; end; twice verdict.tone }}", "clearclear")]
    [InlineData("{{ capture c }}{{ title }}!{{ end }}{{ c | string.size }}", "23")]
    [InlineData("{{ names = subjects | array.sort 'name' }}{{ names[0].name }}", "base")]
    public void What_is_there_is_rendered(string template, string text) => Assert.Equal(text, Render(template));

    [Theory]
    [InlineData("{{ while true; end }}", "a loop runs too long; expected at most 200,000 iterations.")]
    [InlineData("{{ func f; f; end; f }}", "nested too deeply")]
    [InlineData("{{ a = 'A'; for i in 1..60; a = a + a; end }}", "grows too long")]
    [InlineData("{{ for i in 1..100000; title; title; title; title; end }}", "grows too long")]
    [InlineData("{{ func f(n); if n > 0; f(n - 1); f(n - 1); end; end; f 80 }}", "too long")]
    public void A_template_without_end_is_one_clear_message(string template, string words)
    {
        var limits = new TemplateLimits { Loops = 200_000, Characters = 1 << 20, Time = TimeSpan.FromSeconds(1) };
        var error = Assert.ThrowsAny<UserException>(
            () => ReportRenderer.Render(new("t.md", template, OutputFormat.Markdown), Samples.Model(), limits));

        Assert.StartsWith("t.md:1:", error.Message, StringComparison.Ordinal);
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_template_that_comes_along_asks_for_what_is_there() =>
        Assert.All(
            TemplateFile.BuiltIn,
            name => Assert.NotEmpty(ReportRenderer.Render(TemplateFile.Find(name), Samples.Model())));

    private static string Render(string template) =>
        ReportRenderer.Render(new("t.md", template, OutputFormat.Markdown), Samples.Model());
}

internal static class Samples
{
    public static ReportModel Model(IReadOnlyList<ReportExamples>? examples = null) =>
        ReportBuilder.Build(SampleResults.Make(), examples ?? [], []);
}
