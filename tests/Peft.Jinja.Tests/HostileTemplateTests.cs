using System.Text.Json;

namespace Peft.Jinja.Tests;

/// <summary>A stranger's template cannot hang or crash the program, nor use up its memory.</summary>
public sealed class HostileTemplateTests
{
    [Theory]
    [InlineData("{{ a.", "expected name or number")]
    [InlineData("{% for m in messages %}<{{ m.", "expected name or number")]
    [InlineData("{{ a.b", "unexpected end of template, expected 'end of print statement'.")]
    [InlineData("{{ a|", "unexpected end of template, expected 'name'.")]
    [InlineData("{% set x =", "unexpected 'end of template'")]
    public void A_template_that_ends_in_the_middle_is_told_as_jinja2_tells_it(string template, string message)
    {
        var error = Assert.Throws<JinjaException>(() => JinjaTemplate.Parse(template));
        Assert.Equal((JinjaErrorKind.Syntax, message, 1), (error.Kind, error.Message, error.Line));
    }

    [Theory]
    [InlineData("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "more than 10000000 steps")]
    [InlineData("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "levels deep")]
    [InlineData("{{ 'x' * 1000000000 }}", "longer than")]
    [InlineData("{{ [1] * 1000000000 }}", "longer than")]
    [InlineData("{{ 9 ** 99999999 }}", "longer than")]
    [InlineData("{{ 2 ** 100000000000 }}", "an exponent above")]
    [InlineData("{{ '%1000000000d' % 1 }}", "a width or precision above")]
    [InlineData("{{ 'x'.center(1000000000) }}", "longer than")]
    [InlineData("{{ ('a' * 9999).replace('', 'b' * 9999) }}", "longer than")]
    [InlineData("{% for x in range(60) recursive %}{{ loop(range(60)) }}{% endfor %}", "levels deep")]
    public void A_template_that_would_use_up_time_or_memory_is_stopped(string template, string message)
    {
        var error = Assert.Throws<JinjaException>(() => Render(template));
        Assert.Equal(JinjaErrorKind.Limit, error.Kind);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3000, "(", ")")]
    [InlineData(3000, "[", "]")]
    [InlineData(3000, "not ", "")]
    [InlineData(3000, "-", "")]
    public void Deep_nesting_is_refused_while_reading(int times, string open, string close)
    {
        var template = "{{ " + string.Concat(Enumerable.Repeat(open, times)) + "1"
            + string.Concat(Enumerable.Repeat(close, times)) + " }}";
        Assert.Equal(JinjaErrorKind.Limit, Assert.Throws<JinjaException>(() => Render(template)).Kind);
    }

    [Fact]
    public void Nested_inline_ifs_are_read_in_linear_time()
    {
        var template =
            string.Concat(Enumerable.Repeat("(", 60)) + "1" + string.Concat(Enumerable.Repeat(" if true else 2)", 60));
        Assert.Equal("1", Render("{{ " + template + " }}"));
    }

    [Fact]
    public void Time_is_limited_too()
    {
        var limits = JinjaLimits.Default with { Time = TimeSpan.Zero };
        var template = JinjaTemplate.Parse("{% for x in range(9999) %}{{ x }}{% endfor %}", limits);
        var error = Assert.Throws<JinjaException>(
            () => template.Render(new Dictionary<string, JsonElement>(), DateTime.UnixEpoch));
        Assert.Equal("more than 0 seconds", error.Message);
    }

    [Theory]
    [InlineData("a\nb {{ 1 / 0 }}", 2)]
    [InlineData("{% if true %}\n\n{{ nope.x }}{% endif %}", 3)]
    [InlineData("x\n{% foo %}", 2)]
    public void An_error_names_its_line(string template, int line) =>
        Assert.Equal(line, Assert.Throws<JinjaException>(() => Render(template)).Line);

    // Steps, not seconds: a busy machine may take long.
    private static string Render(string template) =>
        JinjaTemplate.Parse(template, JinjaLimits.Default with { Time = TimeSpan.FromHours(1) })
            .Render(new Dictionary<string, JsonElement>(), DateTime.UnixEpoch).Text;
}
