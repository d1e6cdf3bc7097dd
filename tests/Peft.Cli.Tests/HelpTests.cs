using System.Text.Json;
using System.Text.RegularExpressions;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed partial class HelpTests : IDisposable
{
    // Help must not need what only work needs.
    private static readonly Surroundings NothingInstalled = new()
    {
        Variables = new Dictionary<string, string> { ["LIBTORCH"] = "/nonexistent" },
    };

    private readonly TempFolder _folder = new();

    [Fact]
    public void Help_lists_the_verbs_and_each_verb_explains_itself_without_any_native_library()
    {
        var index = Peft("--help").Succeeds();
        Assert.Equal("", index.Error);
        var verbs = VerbLine().Matches(index.Output).Select(match => match.Groups[1].Value).Except(
            ["help", "version"]).ToList();
        Assert.Superset(
            new HashSet<string>(
                ["init", "train", "eval", "report", "generate", "logits", "data", "tokenize", "render", "gate", "merge",
                "adapter inspect", "adapter verify",
                "adapter import", "adapter export", "doctor"]),
            verbs.ToHashSet());

        Assert.All(verbs, verb =>
        {
            var page = Peft([.. verb.Split(' '), "--help"]).Succeeds();
            Assert.Equal("", page.Error);
            Assert.StartsWith($"usage: peft {verb}", page.Output);
            Assert.Contains("--help", page.Output);
        });
        Assert.Equal(Peft("train", "--help").Output, Peft("help", "train").Succeeds().Output);
        Assert.Equal(index.Output, Peft("help").Succeeds().Output);
        Assert.Equal(index.Output, Peft("-h").Succeeds().Output);
        Assert.Equal(Peft("train", "--help").Output, Peft("train", "-h").Succeeds().Output);
        Assert.Equal(Peft("adapter", "export", "--help").Output, Peft("adapter", "export", "-h").Succeeds().Output);
    }

    [Fact]
    public void Help_of_a_verb_shows_options_as_they_are_typed()
    {
        var page = Peft("train", "--help").Succeeds().Output;
        Assert.Contains("usage: peft train RECIPE", page);
        Assert.All(
            ["--set", "--output", "--resume", "--overwrite", "--dry-run", "--device", "--json"],
            option => Assert.Matches($@"\n  {option}[ =]", page));
    }

    [Fact]
    public void A_usage_line_tells_what_must_be_given_and_what_can_be_left_out()
    {
        Assert.StartsWith("usage: peft generate [-] [OPTION]...\n", Help("generate"));
        Assert.StartsWith("usage: peft eval --output DIR [OPTION]...\n", Help("eval"));
        Assert.StartsWith("usage: peft init [FOLDER] [OPTION]...\n", Help("init"));
        Assert.StartsWith("usage: peft report RESULTS... --output FILE [OPTION]...\n", Help("report"));
        Assert.StartsWith("usage: peft adapter inspect DIR [OPTION]...\n", Help("adapter", "inspect"));
        Assert.Contains("\n  FOLDER             (Default: .) Folder to write to.", Help("init"));
    }

    [Fact]
    public void Help_of_eval_tells_when_the_size_of_batches_counts() =>
        Assert.Contains(
            "Rows answered together; changes the numbers by rounding at most, except with routers that go by all "
                + "tokens of a batch: expert-choice, union-of-experts, and lily with average: batch.",
            Gaps().Replace(Help("eval"), " "));

    [GeneratedRegex(@"\s+")]
    private static partial Regex Gaps();

    [Fact]
    public void Help_of_adapter_lists_its_commands_alone()
    {
        var page = Help("adapter");
        Assert.Contains("usage: peft adapter COMMAND [OPTION]...   (COMMAND --help lists its options)\n", page);
        Assert.Equal(
            ["adapter inspect", "adapter verify", "adapter import", "adapter export"],
            VerbLine().Matches(page).Select(match => match.Groups[1].Value).Except(["help", "version"]));
        Assert.Equal(page, Peft("help", "adapter").Succeeds().Output);
    }

    [Fact]
    public void No_line_of_help_is_wider_than_80_columns_or_begins_with_a_stray_space()
    {
        var verbs = VerbLine().Matches(Help()).Select(match => match.Groups[1].Value).Except(["help", "version"]);
        Assert.All(verbs.Append("adapter"), verb => Assert.All(Help(verb.Split(' ')).Split('\n'), line =>
        {
            Assert.True(line.Length <= 80, line);
            Assert.DoesNotMatch(@"^ \S|\(pos\.", line);
            Assert.False(line.Contains("(Default:") && line.Contains("(default:"), line);
        }));
    }

    [Fact]
    public void Version_is_one_line() => Assert.Matches(@"^peft \d+\.\d+\.\d+\n$", Peft("--version").Succeeds().Output);

    [Theory]
    [InlineData("", "peft: no command; expected init, train, eval, ", " or doctor.\nTry peft --help.")]
    [InlineData("trian", "peft: 'trian' is not a command; expected init, train, ", "Did you mean train?")]
    [InlineData("adapter",
        "peft: adapter needs a second word; expected adapter inspect, adapter verify, adapter import or adapter "
        + "export.")]
    [InlineData("export x", "peft: 'export' is not a command; ", "Did you mean adapter export?")]
    [InlineData("inspect x", "peft: 'inspect' is not a command; ", "Did you mean adapter inspect?")]
    [InlineData("adapter verfy x", "'adapter verfy' is not a command", "Did you mean adapter verify?")]
    [InlineData("train", "peft train: RECIPE is missing.\nTry peft train --help.")]
    [InlineData("train r.yaml --overwrit", "peft train: --overwrit is not an option. Did you mean --overwrite?")]
    [InlineData("train r.yaml --output", "peft train: --output needs a value.")]
    [InlineData("train r.yaml --output --overwrite", "peft train: --output needs a value.")]
    [InlineData("train a.yaml b.yaml", "peft train: 'b.yaml' is one word too many; expected RECIPE. Put quotes around")]
    [InlineData("generate --base x",
        "--prompt: missing; expected --prompt TEXT, or '-' for prompts from standard input.")]
    [InlineData("generate --base x --prompt y --seed soon",
        "the value of --seed cannot be read; expected a whole number.")]
    [InlineData("generate --base x --prompt two words", "peft generate: 'words' is one word too many",
        "Put quotes around")]
    [InlineData("logits --base x --bogus 1", "--bogus is not an option.", "--ids is missing", "--output is missing")]
    [InlineData("train --set training.max_steps=1 r.yaml", "r.yaml: no such file")]
    public void A_wrong_command_line_is_the_users_mistake(string commandLine, params string[] parts) =>
        Peft(commandLine.Split(' ', StringSplitOptions.RemoveEmptyEntries)).IsRefused(parts);

    [Fact]
    public void Doctor_names_what_is_missing_and_how_to_get_it()
    {
        var doctor = Peft("doctor").Exits(2);
        Assert.Matches(
            @"\nlibtorch +MISSING: LIBTORCH: '/nonexistent' is not a folder; expected .* Correct LIBTORCH, or unset it",
            doctor.Output);
        Assert.DoesNotContain("fast types", doctor.Output);
        using var json = JsonDocument.Parse(Peft("doctor", "--json").Exits(2).Output);
        Assert.False(json.RootElement.GetProperty("healthy").GetBoolean());
        var libtorch = json.RootElement.GetProperty("findings").EnumerateArray().Single(
            finding => finding.GetProperty("name").GetString() == "libtorch");
        Assert.Equal("missing", libtorch.GetProperty("state").GetString());
    }

    [Fact]
    public void Doctor_names_what_is_there()
    {
        var doctor = PeftProcess.Run(_folder, "doctor").Succeeds();
        Assert.Matches(@"\nlibtorch +2\.10\.\d+, /.*libtorch_cpu\.so\n", doctor.Output);
        Assert.Matches(@"\nTorchSharp +\d", doctor.Output);
        Assert.Matches(
            @"\nMKL +fast kernels(, switched on for AMD \(PEFT_MKL_AS_IS=1 leaves MKL as it is\)|"
                + @" \(processor by \w+\))\n",
            doctor.Output);
        Assert.Matches(@"\nthreads +1 of \d+ cores\n", doctor.Output);
        Assert.Matches(@"\nfast types +float32", doctor.Output);
        Assert.DoesNotContain("MISSING", doctor.Output);
    }

    public void Dispose() => _folder.Dispose();

    private string Help(params string[] verb) => Peft([.. verb, "--help"]).Succeeds().Output;

    private ProgramRun Peft(params string[] words) => PeftProcess.Run(_folder, NothingInstalled, words);

    [GeneratedRegex(@"^  ([a-z]+(?: [a-z]+)?)  ", RegexOptions.Multiline)]
    private static partial Regex VerbLine();
}
