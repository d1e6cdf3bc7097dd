using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Tests.Texts;

public sealed class WhiteSpaceTests
{
    [Fact]
    public void White_space_is_that_of_ECMAScript()
    {
        const string Expected = "\t\n\v\f\r \u00a0\u1680"
            + "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff";
        Assert.Equal(Expected, string.Concat(EveryCharacter().Where(WhiteSpace.Has)));
    }

    [Fact]
    public void The_class_for_regular_expressions_holds_the_same_characters()
    {
        var expression = new Regex(WhiteSpace.Class);
        Assert.All(EveryCharacter(),
            character => Assert.Equal(WhiteSpace.Has(character), expression.IsMatch(character.ToString())));
    }

    [Fact]
    public void Trimming_and_collapsing_keep_what_is_no_white_space()
    {
        Assert.Equal("a \u0085b\u0085", WhiteSpace.Trim("\ufeff\n a \u0085b\u0085\u3000"));
        Assert.Equal("a \u0085 b", WhiteSpace.Collapse(" a\t\n\u0085\u00a0 b "));
        Assert.Equal("", WhiteSpace.Trim(" \n"));
        Assert.Equal(["a", "b-c"], WhiteSpace.Words(" a\t\tb-c\n"));
    }

    private static IEnumerable<char> EveryCharacter() =>
        Enumerable.Range(0, char.MaxValue + 1).Select(code => (char)code);
}
