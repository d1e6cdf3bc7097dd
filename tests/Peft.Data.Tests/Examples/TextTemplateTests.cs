using Peft.Data.Examples;

namespace Peft.Data.Tests.Examples;

public class TextTemplateTests
{
    [Fact]
    public void Columns_are_filled_in_and_double_braces_are_braces()
    {
        var template = TextTemplate.Parse("Q: {question} {{x}} {a b}\n{question}");
        Assert.Equal(["question", "a b"], template.Columns);
        Assert.Equal("Q: [question] {x} [a b]\n[question]", template.Render(name => $"[{name}]"));
    }

    [Fact]
    public void Braces_in_a_value_are_left_alone() =>
        Assert.Equal("{b}", TextTemplate.Parse("{a}").Render(_ => "{b}"));

    [Theory]
    [InlineData("a {b", "'{' at character 3 of 'a {b' belongs to no {column}")]
    [InlineData("a } b", "'}' at character 3 of 'a } b' belongs to no {column}")]
    [InlineData("{}", "'{' at character 1 of '{}' belongs to no {column}")]
    [InlineData("{a{b}", "'{' at character 1 of '{a{b}' belongs to no {column}")]
    public void A_brace_that_belongs_to_nothing_is_told(string text, string message) =>
        Assert.Equal(message, Assert.Throws<FormatException>(() => TextTemplate.Parse(text)).Message);
}
