using Peft.Data.Examples;
using Peft.Formats.Templates;

namespace Peft.Data.Tests.Examples;

public class TextTemplateTests
{
    private static readonly TemplateEngine Engine = new();

    [Fact]
    public void Columns_are_filled_in_and_other_braces_are_text()
    {
        var template = TextTemplate.Parse("Q: {question} {\"x\": 1} {a b} {{ question | string.upcase }}\n{question}");
        Assert.Equal(
            "Q: why {\"x\": 1} z WHY\nwhy",
            template.Render(Engine, TemplateValues.OfPairs([new("question", "why"), new("a b", "z")])));
        Assert.True(template.HasValues);
    }

    [Fact]
    public void Braces_in_a_value_are_left_alone() =>
        Assert.Equal(
            "{b} {{ c }}", TextTemplate.Parse("{a}").Render(Engine, TemplateValues.OfPairs([new("a", "{b} {{ c }}")])));

    [Fact]
    public void A_text_of_several_lines_stays_as_it_stands() =>
        Assert.Equal(
            "  x\n y\r\nz",
            TextTemplate.Parse("  {a}").Render(Engine, TemplateValues.OfPairs([new("a", "x\n y\r\nz")])));

    [Fact]
    public void A_literal_text_has_no_values()
    {
        var template = TextTemplate.Literal(" {no}");
        Assert.Equal(" {no}", template.Render(Engine, []));
        Assert.False(template.HasValues);
        Assert.False(TextTemplate.Parse("{{ 'x' | string.upcase }} { }").HasValues);
    }
}
