using Peft.Cli.Printing;

namespace Peft.Cli.Tests;

/// <summary>Tables as people see them, also where the terminal is narrower than they are.</summary>
public sealed class TextTableTests
{
    private static TextTable Scores()
    {
        var table = new TextTable("task", "metric", "rows", "base", "mine");
        table.Add("lemma", "exact_match (higher is better)", "200", "0.000", "0.570");
        table.Add("", "trainable parameters", "", "0", "705,024");
        return table;
    }

    [Theory]
    [InlineData(null)]
    [InlineData(63)]
    public void Where_it_fits_it_is_a_table(int? width) => Assert.Equal(
        """
        task   metric                          rows   base     mine
        -----------------------------------------------------------
        lemma  exact_match (higher is better)   200  0.000    0.570
               trainable parameters                      0  705,024
        """, Scores().Fitted(width));

    [Fact]
    public void On_a_narrow_terminal_each_row_stands_by_itself() => Assert.Equal(
        """
        lemma  exact_match (higher is better)
          rows  200
          base  0.000
          mine  0.570

        trainable parameters
          base  0
          mine  705,024
        """, Scores().Fitted(58));
}
