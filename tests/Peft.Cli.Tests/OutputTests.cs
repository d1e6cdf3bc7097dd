using Peft.Cli.Printing;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class OutputTests
{
    [Fact]
    public void A_drawn_line_is_taken_away_before_anything_else_is_written()
    {
        var (results, words) = (new StringWriter { NewLine = "\n" }, new StringWriter { NewLine = "\n" });
        using (var output = new Output(results, words))
        {
            output.Draw("[==  ] 3/6 rows");
            output.Draw("[=== ] 4/6 rows");
            output.Say("a note");
            output.Draw("[====] 6/6 rows");
            output.Result("done");
            output.Error("wrong");
            output.Erase();
        }

        const string Start = "\r\u001b[K";
        Assert.Equal(
            $"{Start}[==  ] 3/6 rows{Start}[=== ] 4/6 rows{Start}a note\n{Start}[====] 6/6 rows{Start}wrong\n",
            words.ToString());
        Assert.Equal("done\n", results.ToString());
    }

    [Fact]
    public void Results_that_find_no_room_are_a_failure_that_names_them()
    {
        using var folder = new TempFolder();
        var full = new Surroundings { Prefix = ["sh", "-c", "exec \"$@\" > /dev/full", "sh"] };
        string[][] commands = [["--help"], ["generate", "--base", TinyBase.Model, "--prompt", "the cat"]];
        foreach (var words in commands)
            PeftProcess.Run(folder, full, words).Exits(1)
                .Says("standard output: the disk is full. Free some space or choose another output.");
    }

    [Theory]
    [InlineData("a b", "'a b'")]
    [InlineData("it's", "'it'\\''s'")]
    [InlineData("a\nb\t'c'", "$'a\\nb\\t\\'c\\''")]
    [InlineData("", "''")]
    public void A_suggested_word_is_quoted_for_a_shell(string word, string quoted) =>
        Assert.Equal(quoted, Verbs.CommandLineWords.Quoted(word));
}
