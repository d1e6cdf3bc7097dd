using System.Text.Json;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class TokenizeTests : IDisposable
{
    private readonly TempFolder _folder = new();

    [Fact]
    public void Lines_become_ids_and_ids_become_the_lines_again()
    {
        string[] texts = ["the cat sat on the mat", "", "  two spaces, ümlauts and 猫 \\ \"quotes\"", "the dog"];
        var ids = Tokenize(Surroundings.WithInput(texts)).Succeeds();
        Assert.Equal(texts.Length, ids.Lines.Length);
        Assert.Equal("[]", ids.Lines[1]);
        Assert.True(ids.Lines[0].Split(',').Length < texts[0].Length / 2, "merges were learned: " + ids.Lines[0]);

        var back = Tokenize(Surroundings.WithInput(ids.Lines), "--decode").Succeeds();
        Assert.Equal(texts, back.Lines.Select(line => JsonSerializer.Deserialize<string>(line)));
    }

    [Fact]
    public void With_jsonl_a_text_may_hold_line_breaks()
    {
        var ids = Tokenize(Surroundings.WithInput("\"the\\ncat\\r\\n\"", "\"dog\""), "--jsonl").Succeeds();
        var back = Tokenize(Surroundings.WithInput(ids.Lines), "--decode").Succeeds();
        Assert.Equal(["\"the\\ncat\\r\\n\"", "\"dog\""], back.Lines);
    }

    [SharedFact]
    public void Special_tokens_are_added_unless_asked_not_to_be()
    {
        var folder = SharedAssets.Path("models", "stories260K");
        using var expected = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json")));
        var text = expected.RootElement.GetProperty("text").GetString()!;
        var ids = expected.RootElement.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()).ToArray();

        var with = Tokenize(Surroundings.WithInput(text), folder);
        var without = Tokenize(Surroundings.WithInput(text), folder, "--no-special");
        Assert.Equal($"[{string.Join(", ", ids)}]\n", with.Output);
        Assert.Equal($"[{string.Join(", ", ids[1..])}]\n", without.Output);
        Assert.Equal(JsonSerializer.Serialize(text) + "\n",
            Tokenize(Surroundings.WithInput(with.Output.TrimEnd()), folder, "--decode", "--no-special").Output);
        Assert.StartsWith("\"<s>", Tokenize(Surroundings.WithInput(with.Output.TrimEnd()), folder, "--decode").Output);
    }

    [Theory]
    [InlineData("--jsonl", "\"good\"|nonsense", "line 2: cannot be read (", "); expected a JSON string.")]
    [InlineData("--jsonl", "\"good\"|[1]", "line 2: cannot be read (", "); expected a JSON string.")]
    [InlineData(
        "--jsonl", "'good'",
        "line 1: cannot be read (a single quote, for which JSON writes \"); expected a JSON string.")]
    [InlineData("--jsonl", "null", "line 1: cannot be read (the value is null); expected a JSON string.")]
    [InlineData("--decode", "[1]|[2]|[3, \"a\"]", "line 3: cannot be read (", "); expected a JSON array of token ids.")]
    [InlineData("--decode", "[1]|[99999]", "line 2: id 99999; expected ids from 0 to 279 with this tokenizer.")]
    [InlineData("--decode", "[-1]", "line 1: id -1")]
    public void A_wrong_line_is_named(string option, string lines, string message, params string[] more) =>
        Tokenize(Surroundings.WithInput(lines.Split('|')),
            option).Exits(2).Says(["standard input " + message, .. more]);

    [Fact]
    public void A_line_that_is_not_utf8_is_named() =>
        Tokenize(new Surroundings { Input = [.. "good\nb"u8, 0xFF, .. "d\n"u8] }).Exits(2).Says(
            "standard input line 2: is not UTF-8. Convert the text, for example with iconv -t utf-8.");

    [Fact]
    public void A_tokenizer_is_never_written_over_and_needs_room_for_the_bytes()
    {
        _folder.Copy(TinyBase.New, "tok");
        var before = _folder.Snapshot();
        var texts = Surroundings.WithInput("a b c");
        PeftProcess.Run(_folder, texts, "tokenize", "--train", "--tokenizer",
            "tok").IsRefused("tok: contains a tokenizer.json already.");
        PeftProcess.Run(_folder, texts, "tokenize", "--train", "--tokenizer", "new", "--vocab-size", "256")
            .IsRefused("--vocab-size: 256; expected at least 257 (256 bytes and the end of text).");
        Assert.Equal(before, _folder.Snapshot());
    }

    [Fact]
    public void Training_tells_the_size_that_came_out()
    {
        // Two letters give one pair to merge: 256 bytes, the end of text and one more.
        var run = PeftProcess.Run(_folder, Surroundings.WithInput("ab ab", "ab"), "tokenize", "--train", "--tokenizer",
            "t", "--vocab-size", "5000");
        Assert.Equal("t/tokenizer.json: 258 tokens\n", run.Succeeds().Error);
    }

    [Fact]
    public void A_missing_tokenizer_is_the_users_mistake() =>
        PeftProcess.Run(_folder, "tokenize", "--tokenizer", "nowhere").IsRefused("nowhere", "tokenizer.json");

    public void Dispose() => _folder.Dispose();

    private ProgramRun Tokenize(Surroundings surroundings, params string[] words) =>
        words is [var folder, ..] && Directory.Exists(folder)
        ? PeftProcess.Run(_folder, surroundings, ["tokenize", "--tokenizer", folder, .. words[1..]])
        : PeftProcess.Run(_folder, surroundings, ["tokenize", "--tokenizer", TinyBase.New, .. words]);
}
