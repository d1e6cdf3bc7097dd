using System.Buffers.Binary;
using Peft.Formats;
using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests.Sources;

public sealed class DebianSourceTests
{
    [Fact]
    public void Of_the_dictionary_only_the_paragraphs_of_1913_are_taken()
    {
        const string Dictionary = """


            00-database-long
               Not an entry.
               [1913 Webster]

            Lapidate \Lap"i*date\, v. t. [L. lapidatus (see [root]12), fr. lapis
               stone.] [1913.]
               1. To stone; to pelt, as {Pilate}.
               [1913 Webster]

               2. To study stones.
               [WordNet 1.5]

                     He was lapidated. --Bront["o].
               [1913 Webster]
               [Obs.]

            Laptop \Lap"top\, n.
               A computer.
               [PJC]

               A later one.
               [1913 Webster]

            Beviled \Bev"iled\, Bevilled \Bev"illed\ (b[e^]v"[i^]ld), a.
               Notched.
               [1913 Webster]

            Without
               a mark
            """;
        using var packages = new SmallPackages().Debian(Webster.Package, DebianFiles.Gzip(Dictionary));
        Assert.Equal(
            [
                "Lapidate, v. t.|1. To stone; to pelt, as Pilate.|He was lapidated. --Bronto.",
                "Beviled, Bevilled, a.|Notched.",
            ],
            Webster.Entries(packages.Packages).Select(entry => string.Join('|', [entry.Head, .. entry.Senses])));
    }

    [Fact]
    public void A_commentary_is_its_paragraphs_without_headings_and_markup()
    {
        const string Genesis = """
            <title type="x-ms">Genesis, a heading that is long enough to be seen</title> <div sID="g1" type="x-p"/>
            The <hi type="bold">first</hi> verse of the Bible gives us an account &amp; a
            reason. <div eID="g1" type="x-p"/><table> <row><cell>An outline that is long enough to be seen, too.</cell>
            </row></table> <hi>Verses 1-2</hi> <div sID="g2" type="x-p"/>
            """;
        const string Matthew = "<p>The second commentary is of the New Testament.";
        var (oldIndex, oldData) = DebianFiles.Blocks(Genesis, "<title>nothing else</title>");
        var (newIndex, newData) = DebianFiles.Blocks(Matthew);
        using var packages = new SmallPackages()
            .Debian(Commentaries.HenryPackage, oldIndex, oldData, newIndex, newData)
            .Debian(Commentaries.SpurgeonPackage, oldIndex, oldData);
        const string First = "The first verse of the Bible gives us an account & a reason.";
        Assert.Equal(
            [("henry", "0", First), ("henry", "2", "The second commentary is of the New Testament.")],
            Commentaries.Henry(packages.Packages).Select(Single));
        Assert.Equal([("spurgeon", "0", First)], Commentaries.Spurgeon(packages.Packages).Select(Single));
        static (string, string, string) Single(Document document) =>
            (document.Source, document.Name, Assert.Single(document.Paragraphs));
    }

    [Fact]
    public void A_novel_is_its_chapters()
    {
        string?[] emma =
        [
            "EMMA", "", "By Jane Austen", "", "CHAPTER I", "", "Emma", "_was_ here.", "", "", "Yes.", null, "Chapter 2",
            "End.",
        ];
        var (index, database) = DebianFiles.RDatabase(emma, ["Sense and Sense", "", "No chapter."]);
        using var packages = new SmallPackages().Debian(Novels.Package, index, database);
        Assert.Equal(
            [
                "emma/0|EMMA|By Jane Austen", "emma/1|CHAPTER I|Emma was here.|Yes.", "emma/2|Chapter 2 End.",
                "sense_and_sense/0|Sense and Sense|No chapter.",
            ],
            Novels.Chapters(packages.Packages).Select(
                document => string.Join('|', [document.Name, .. document.Paragraphs])));
    }

    [Fact]
    public void A_damaged_file_is_named()
    {
        var (index, data) = DebianFiles.Blocks("a");
        BinaryPrimitives.WriteInt32LittleEndian(index.AsSpan(12), 1000);
        using var packages = new SmallPackages()
            .Debian(Webster.Package, [1, 2, 3])
            .Debian(Commentaries.SpurgeonPackage, index, data)
            .Debian(Novels.Package, DebianFiles.Gzip("\0\0\0\r\0\0\0\u0002\0\0\0\0\0\0\0\u0001"), [0]);
        AssertDamaged("gcide.dict.dz", () => Webster.Entries(packages.Packages).Count());
        AssertDamaged("ot.czs", () => Commentaries.Spurgeon(packages.Packages).Count());
        AssertDamaged("Rdata.rdx", () => Novels.Chapters(packages.Packages).Count());
    }

    private static void AssertDamaged(string file, Func<object> read) => Assert.EndsWith(
        $"{file}: missing or damaged; expected a readable file of the package ",
        Assert.Throws<UserException>(read).Message.Split("package ")[0] + "package ", StringComparison.Ordinal);
}
