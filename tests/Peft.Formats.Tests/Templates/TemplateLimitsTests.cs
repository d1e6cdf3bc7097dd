using System.Diagnostics;
using Peft.Formats.Templates;

namespace Peft.Formats.Tests.Templates;

/// <summary>Templates that a stranger may have written: each ends soon, with one clear message.</summary>
public sealed class TemplateLimitsTests
{
    private static readonly TemplateLimits Small = new()
    {
        Loops = 100_000, Characters = 1 << 20, Bytes = 256L << 20, Time = TimeSpan.FromSeconds(2), RegexTime = TimeSpan.FromMilliseconds(200),
    };

    [Theory]
    [InlineData("{{ while true; end }}", "loops without end")]
    [InlineData("{{ for i in 1..2000000000; end }}", "loops without end")]
    [InlineData("{{ for i in 1..100000; for j in 1..100000; end; end }}", "loops without end")]
    [InlineData("{{ 1..1000000000 | array.size }}", "loops without end")]
    [InlineData("{{ a = [1]; for i in 1..40; a = a + a; end; a | array.size }}", "loops without end")]
    [InlineData("{{ a = [1]; for i in 1..40; a = a | array.add_range a; end; a | array.size }}", "loops without end")]
    [InlineData("{{ a = 'A'; for i in 1..40; a = a + a; end }}", "the text grows too long")]
    [InlineData("{{ a = 'A'; for i in 1..40; a = a | string.append a; end }}", "the text grows too long")]
    [InlineData("{{ a = 'A'; for i in 1..40; a = a | string.replace 'A' 'AAAA'; end }}", "the text grows too long")]
    [InlineData("{{ 'x' * 1000000000 }}", "the text grows too long")]
    [InlineData("{{ 'x' | string.pad_left 1000000000 }}", "the text grows too long")]
    [InlineData("{{ 1.5 | object.format 'F999999999' }}", "the text grows too long")]
    [InlineData("{{ for i in 1..5000; 'a text of some length that is written over and over again, without end, so that memory is full' * 9; end }}", "the text grows too long")]
    [InlineData("{{ func f; f; end; f }}", "nested too deeply")]
    [InlineData("{{ a = [1]; for i in 1..200; a = [a, a]; end; a | object.to_json }}", "nested too deeply")]
    [InlineData("{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' | regex.match '(a+)+$' }}", "the regular expression goes on for too long")]
    [InlineData("{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' | extract '(a+)+$' }}", "the regular expression goes on for too long")]
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
        var engine = new TemplateEngine(new TemplateOptions { Limits = Small with { Bytes = long.MaxValue, Time = TimeSpan.FromMilliseconds(300) } });
        var template = ParsedTemplate.Parse("{{ func f(n); if n > 0; f(n - 1); f(n - 1); end; end; f 80 }}", "t");
        Assert.Contains("goes on for too long", Assert.Throws<TemplateException>(() => engine.Render(template, [])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Limits_are_those_of_one_rendering()
    {
        var engine = new TemplateEngine(new TemplateOptions { Limits = Small with { Characters = 1000, Loops = 100, Depth = 10 } });
        var template = ParsedTemplate.Parse("{{ func f(x); ret x; end; for i in 1..60; f 'x'; end; a = (1..60 | array.size); 'y' * 300 }}", "t");
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
        Assert.Throws<TemplateException>(() => engine.Render(ParsedTemplate.Parse("{{ for i in 1..3; capture x; nope; end; end }}", "t"), []));
        Assert.Equal("2", engine.Render(ParsedTemplate.Parse("{{ 1 + 1 }}", "t"), []));
    }

    [Fact]
    public void A_rendering_can_be_cancelled()
    {
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        var engine = new TemplateEngine(new TemplateOptions { Cancellation = stop.Token });
        Assert.ThrowsAny<OperationCanceledException>(() => engine.Render(ParsedTemplate.Parse("{{ for i in 1..9; end }}", "t"), []));
    }

    [Fact]
    public void A_text_nested_beyond_reason_is_refused() =>
        Assert.Throws<TemplateException>(() => ParsedTemplate.Parse("{{ " + new string('(', 5000) + "1" + new string(')', 5000) + " }}", "t"));

    [Fact]
    public void No_member_of_a_dotnet_type_is_within_reach()
    {
        var engine = new TemplateEngine();
        Assert.Throws<ArgumentException>(() => TemplateValues.Of(new Uri("file:///etc/passwd")));
        Assert.Throws<TemplateException>(() => engine.Render(ParsedTemplate.Parse("{{ x.day_of_week }}", "t"), new Scriban.Runtime.ScriptObject { ["x"] = new Version(1, 2) }));
        Assert.Throws<TemplateException>(() => engine.Render(ParsedTemplate.Parse("{{ x.major }}", "t"), new Scriban.Runtime.ScriptObject { ["x"] = new Version(1, 2) }));
    }
}
