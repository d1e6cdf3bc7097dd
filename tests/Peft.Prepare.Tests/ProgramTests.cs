using System.Text.RegularExpressions;
using Peft.Formats.Files;
using Peft.Prepare.DataSets;
using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests;

public sealed class ProgramTests
{
    private const string Dictionary = "BEE  B IY1\nCAT  K AE1 T\nDOG  D AO1 G\n";

    [Fact]
    public void What_is_missing_is_written_and_told_and_what_is_current_is_left_alone()
    {
        using var packages = Complete();
        var (code, _, messages) = Run(packages, "--only", "g2p,lemma");
        Assert.Equal(0, code);
        Assert.Matches(
            @"\Ag2p: train \d, validation \d, test \d rows \(word, phonemes\), \d+\.\d s\n"
            + @"lemma: train \d, validation \d, test \d rows \(form, lemma, pos\), \d+\.\d s\n\z",
            messages);
        var written = Directory.EnumerateFileSystemEntries(packages.Places.Cache).Select(
            path => Path.GetFileName(path));
        Assert.Equal(["g2p", "lemma"], written.Order());
        Assert.Equal((0, "", ""), Run(packages, "--only", "g2p,lemma"));
    }

    [Fact]
    public void Another_version_of_a_package_a_lost_file_or_force_writes_a_data_set_again()
    {
        using var packages = Complete();
        Run(packages, "--only", "g2p,lemma");
        packages.Npm(CmuDict.Package, "2", ("data/dict.txt", Dictionary + "EMU  IY1 M Y UW2\n"));
        Assert.Equal(["g2p"], SetsWritten(packages, "--only", "g2p,lemma"));
        File.Delete(Path.Combine(packages.Places.Cache, "g2p", "validation.parquet"));
        Assert.Equal(["g2p"], SetsWritten(packages, "--only", "g2p,lemma"));
        packages.Exceptions(("noun.exc", "geese goose\n"));
        Assert.Equal(["lemma"], SetsWritten(packages, "--only", "lemma,g2p"));
        Assert.Equal(["g2p"], SetsWritten(packages, "--only", "g2p", "--force"));
    }

    [Fact]
    public void The_check_prints_the_hash_and_the_number_of_rows_of_each_file()
    {
        using var packages = Complete();
        Run(packages, "--only", "g2p");
        var (code, output, _) = Run(packages, "--check", "--only", "g2p");
        Assert.Equal(0, code);
        Assert.Matches(@"\A([0-9a-f]{64} +\d g2p/(train|validation|test)\n){3}\z", output);
    }

    [Fact]
    public void All_that_is_missing_is_told_at_once()
    {
        using var packages = new SmallPackages();
        var (code, _, messages) = Run(packages, "--only", "lemma,g2p");
        Assert.Equal(2, code);
        var dictionary = $"{packages.Places.Npm}/node_modules/{CmuDict.Package}/package.json";
        const string Advice =
            "a file of the Debian package wordnet-base. Run make setup, or set PEFT_DEBIAN to its folder.";
        string[] expected =
        [
            "the installation has 5 faults:",
            $"{dictionary} missing; expected a file of the npm package {CmuDict.Package}. Run make setup, or set "
            + $"PEFT_NPM to its folder.",
            .. InstalledPackages.OfDebian[WordNet.ExceptionsPackage].Select(
                file => $"{packages.Places.Debian}/wordnet-base/{file} missing; expected {Advice}"),
            "",
        ];
        // The columns are as wide as the places are long.
        Assert.Equal(expected, messages.Split('\n').Select(line => Regex.Replace(line.Trim(), " +", " ")));
        Assert.False(Directory.Exists(packages.Places.Cache));
    }

    [Fact]
    public void A_package_without_its_data_is_named()
    {
        using var packages = new SmallPackages().Npm(CmuDict.Package, "1").Npm(SpamAssassin.Package, "1",
            ("data/easy-ham-1/1.json", "{"));
        var dictionary = packages.Packages.PathOf(CmuDict.Package, "data", "dict.txt");
        Assert.Equal(
            (2, "", $"{dictionary}: missing or damaged; expected a readable file of the package {CmuDict.Package}. "
                + $"Install the package again.\n"),
            Run(packages, "--only", "g2p"));
        Assert.Contains("easy-ham-1/1.json: missing or damaged", Run(packages, "--only", "spam").Messages,
            StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(packages.Places.Cache));
    }

    [Fact]
    public void One_run_at_a_time_writes_into_a_folder()
    {
        using var packages = Complete();
        Directory.CreateDirectory(packages.Places.Cache);
        using var other = DirectoryLock.TryTake(packages.Places.Cache);
        Assert.NotNull(other);
        Assert.Equal(
            (2, "", $"{packages.Places.Cache}: another run is writing data sets there. Wait until it is done.\n"),
            Run(packages, "--only", "g2p"));
    }

    [Fact]
    public void Words_that_mean_nothing_are_told_at_once()
    {
        using var packages = new SmallPackages();
        var names = Formats.Words.OneOf([.. Catalog.All.Select(set => set.Name)]);
        const string options = "--only NAME[,NAME], --force, and one of --check, --texts and --help";
        Assert.Equal(
            (2, "", $"""
                the command line has 3 faults:
                  --only  g2q; expected {names}. Did you mean g2p?
                  --only  no name; expected {names}.
                  --frce  not an option here; expected {options}.

                """),
            Run(packages, "--only", "g2q,,spam", "--frce"));
        Assert.Contains("--only  no name", Run(packages, "--only").Messages, StringComparison.Ordinal);
        Assert.Contains("--force  has no effect with --check and --texts",
            Run(packages, "--check", "--force").Messages, StringComparison.Ordinal);
        Assert.Contains("--only  has no effect with --texts", Run(packages, "--only", "g2p", "--texts").Messages,
            StringComparison.Ordinal);
        Assert.Contains("--texts  not an option here", Run(packages, "--check", "--texts").Messages,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Help_asks_for_no_package()
    {
        var (code, output, messages) = Run(() => throw new InvalidOperationException("no place is needed"), "--help");
        Assert.Equal((0, ""), (code, messages));
        Assert.Equal(CommandLine.Usage + "\n", output);
    }

    private static SmallPackages Complete() =>
        new SmallPackages().Npm(CmuDict.Package, "1",
            ("data/dict.txt", Dictionary)).Exceptions(("noun.exc", "mice mouse\n"));

    private static IEnumerable<string> SetsWritten(SmallPackages packages, params string[] args) =>
        Run(packages, args).Messages.Split('\n',
            StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(':')[0]);

    private static (int Code, string Output, string Messages) Run(SmallPackages packages, params string[] args) =>
        Run(() => packages.Places, args);

    private static (int Code, string Output, string Messages) Run(Func<Places> places, params string[] args)
    {
        using var output = new StringWriter();
        using var messages = new StringWriter();
        return (Program.Run(args, places, output, messages), output.ToString(), messages.ToString());
    }
}
