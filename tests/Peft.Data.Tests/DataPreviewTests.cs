using Peft.Data.Tables;

namespace Peft.Data.Tests;

public class DataPreviewTests
{
    [Fact]
    public void The_first_sequences_are_shown_with_what_is_learned()
    {
        using var folder = new TempFolder();
        folder.Write("a.csv", "q,a\nabcdef,xy\nb,z\n,\n");
        var preview = DataPreview.Read(
            Given.Train("""{"files": "a.csv", "template": {"prompt": "{q}", "answer": "{a}"}}""", "\"max_length\": 6"),
            Given.Characters,
            id => new PreviewToken(id, Given.Text([id]), id < 3, IsLearned: false),
            folder.Path,
            rows: 2);
        Assert.Equal(2, preview.Sequences.Count);
        var first = preview.Sequences[0];
        Assert.Equal(
            ("a", new RowId("a.csv", 1), "a", 4, 3),
            (first.DataSet, first.Row, first.Task, first.CutTokens, first.LearnedTokens));
        Assert.Equal("<efxy>", string.Concat(first.Tokens.Select(token => token.Text)));
        Assert.Equal([false, false, false, true, true, true], first.Tokens.Select(token => token.IsLearned));
        Assert.Equal([true, false, false, false, false, true], first.Tokens.Select(token => token.IsSpecial));
        Assert.Equal(2, Assert.Single(preview.DataSets).Sequences);
    }
}
