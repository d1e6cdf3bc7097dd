using Peft.Formats;
using Peft.Prepare.DataSets;
using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests.DataSets;

public sealed class DataSetTests
{
    private static readonly InstalledPackages Nothing = new("none", "none");

    [Fact]
    public void Rows_stand_in_the_order_of_the_hash_of_key_and_values_whatever_order_they_came_in()
    {
        KeyedRow[] rows =
            [.. Enumerable.Range(0, 40).Select(number => new KeyedRow($"k{number}", [$"a{number}", "b"]))];
        var built = SetOf(rows).Build(Nothing)["train"];
        Assert.Equal(built, SetOf([.. rows.Reverse()]).Build(Nothing)["train"]);
        Assert.Equal(built.OrderBy(row => Split.OrderOf($"k{row[0][1..]}\n{row[0]}\nb"), StringComparer.Ordinal),
            built);
    }

    [Fact]
    public void A_row_with_a_place_stands_where_the_hash_of_it_says()
    {
        Assert.Equal(Split.OrderOf("source/name/3"), new KeyedRow("source/name", ["x"], "source/name/3").Order);
        Assert.Equal(Split.OrderOf("key\nx\ny"), new KeyedRow("key", ["x", "y"]).Order);
    }

    [Fact]
    public void Every_row_is_in_one_split_and_rows_of_one_key_are_in_the_same()
    {
        KeyedRow[] rows =
            [.. Enumerable.Range(0, 600).Select(number => new KeyedRow($"{number / 3}", [$"{number}", ""]))];
        var built = SetOf(rows).Build(Nothing);
        Assert.Equal(["test", "train", "validation"], built.Keys.Order());
        Assert.Equal(600, built.Values.Sum(split => split.Count));
        Assert.All(built.Values,
            split => Assert.All(split.GroupBy(row => int.Parse(row[0]) / 3), group => Assert.Equal(3, group.Count())));
    }

    [Fact]
    public void Packages_without_a_row_are_refused()
    {
        var error = Assert.Throws<UserException>(() => SetOf([]).Build(Nothing));
        Assert.Equal(
            "made: no row of it in the installed one and two; expected the versions in data/package.json. Run make "
            + "setup.", error.Message);
    }

    [Fact]
    public void A_sentence_asks_for_a_word_that_occurs_once_in_it_and_is_ambiguous()
    {
        const string Text = """
            The/at old/jj can/nn was/bedz red/jj and/cc can/md
            They/ppss can/md see/vb the/at Red/np barn/nn ./.
            She/pps can/md see/vb that/dt clearly/rb ./.
            He/pps saw/vbd a/at tin/nn can/nn there/rb ./.
            He/pps saw/vbd a/at tin/nn can/nn there/rb ./.
            short/jj can/nn ./.
            """;
        using var packages = new SmallPackages().Npm(Brown.Package, "1", ("ca01", Text));
        Assert.Equal(
            [
                "ca01|They can see the Red barn.|can|verb", "ca01|She can see that clearly.|can|verb",
                "ca01|He saw a tin can there.|can|noun",
            ],
            AmbiguousWords.Read(packages.Packages).Select(row => $"{row.Key}|{string.Join('|', row.Values)}"));
    }

    private static DataSet SetOf(IReadOnlyList<KeyedRow> rows) =>
        new("made", ["a", "b"], new(10, 10), ["one", "two"], _ => rows);
}
