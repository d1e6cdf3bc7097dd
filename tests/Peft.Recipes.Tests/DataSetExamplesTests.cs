using System.Text.RegularExpressions;
using Peft.Chat;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Recipes.Reading;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests;

/// <summary>The examples of <c>recipes/README.md</c>, with the rows beside them, are read as they stand
/// there.</summary>
public sealed partial class DataSetExamplesTests : IDisposable
{
    private static readonly string Readme = File.ReadAllText(
        Path.Combine(RepositoryRoot(), "recipes", "README.md")).ReplaceLineEndings("\n");
    private const string Below =
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n";

    private readonly TempFolder _folder = new();

    public static TheoryData<string, string[]> Examples => new()
    {
        {
            "alpaca.json",
            [
                Below + "### Instruction:\nName the capital of the country.\n\n"
                    + "### Input:\nFrance\n\n### Response:\n|Paris",
                Below + "### Instruction:\nSay hello.\n\n### Response:\n|Hello!",
            ]
        },
        {
            "reviews.csv",
            [
                "Good\nI liked it\nSentiment:| positive", "Bad\nI fell asleep\nSentiment:| negative",
                "Fine\nIt works\nSentiment:| positive",
            ]
        },
        {
            "chats.jsonl",
            [
                "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Hello! What can I do?<|im_end|>]\n",
                "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n"
                    + "<|im_start|>assistant\n[4<|im_end|>]\n<|im_start|>user\nSure?<|im_end|>\n"
                    + "<|im_start|>assistant\n[Yes.<|im_end|>]\n",
            ]
        },
        { "talks.json", ["<|user|>\nHi</s>\n<|assistant|>\n[Hello!</s>]\n"] },
        {
            "book.txt",
            ["|Call me Ishmael.", "|Some years ago, never mind how long precisely, I thought I would sail about a"
                + " little."]
        },
    };

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Examples))]
    public void An_example_gives_the_prompts_and_answers_of_its_rows(string file, string[] expected)
    {
        var options = Open(file);
        var sets = options.Train.Concat(options.Eval).Select(Reader).ToList();
        var examples = sets.SelectMany(set => set.Read()).Select(example => example.Conversation is { } talk
            ? Learned(talk, options)
            : $"{example.Prompt}|{example.Answer}").ToList();
        Assert.Equal(expected.Order(StringComparer.Ordinal), examples.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Every_example_is_tested_and_every_key_of_a_data_set_is_documented()
    {
        Assert.Equal(
            Examples.Select(row => (string)row[0]), Rows().Matches(Readme).Select(match => match.Groups["file"].Value));
        string[] others = ["files", "format", "filter", "columns", "template"];
        var begin = Readme.IndexOf("## Data sets", StringComparison.Ordinal);
        var end = Readme.IndexOf("**Alpaca", StringComparison.Ordinal);
        var table = Readme[begin..end];
        Assert.All(
            Keys.Of(typeof(DataSetOptions)).Concat(others),
            key => Assert.Contains($"| `{key}` |", table, StringComparison.Ordinal));
    }

    // What is learned in brackets.
    private static string Learned(Conversation talk, DataOptions options)
    {
        var tokens = new Dictionary<string, string> { ["eos_token"] = "</s>" };
        var name = options.ChatTemplate!;
        var text = LearnedTurns.Of(
            ChatTemplate.Parse(TemplateCatalog.Text(name), name, tokens), talk, options.TrainOn);
        return text.Learned.Reverse().Aggregate(
            text.Text, (marked, span) => marked.Insert(span.End, "]").Insert(span.Start, "["));
    }

    private DataSetReader Reader(DataSetOptions set)
    {
        var faults = new Faults();
        var reader = DataSetReader.Open(set, _folder.Path, faults);
        faults.ThrowIfAny("the example");
        return reader;
    }

    private DataOptions Open(string file)
    {
        var rows = Rows().Matches(Readme).Single(match => match.Groups["file"].Value == file);
        _folder.Write(file, rows.Groups["rows"].Value);
        var recipe = Recipe().Match(Readme, rows.Index + rows.Length).Groups["recipe"].Value;
        var faults = new Faults();
        var reader = new OptionReader(YamlReader.Parse(recipe, "README.md"), "", faults);
        var options = DataOptions.Read(reader.Section("data"));
        reader.Finish();
        faults.ThrowIfAny("the example");
        return options;
    }

    private static string RepositoryRoot()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Peft.sln")))
            folder = Path.GetDirectoryName(folder)!;
        return folder;
    }

    [GeneratedRegex("^```\\w+ (?<file>\\S+)\n(?<rows>.*?)^```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Rows();

    [GeneratedRegex("^```yaml\n(?<recipe>.*?)^```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Recipe();
}
