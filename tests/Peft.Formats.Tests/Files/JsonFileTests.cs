using System.Text;
using System.Text.Json;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Files;

/// <summary>JSON that somebody else may have written becomes objects in one way, and whatever is wrong is a user's
/// error.</summary>
public sealed class JsonFileTests : IDisposable
{
    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        RespectRequiredConstructorParameters = true,
        AllowDuplicateProperties = false,
    };

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private sealed record Numbered(int N, string? Text = null);

    private string MessageOf(byte[] bytes) => MessageOf<UserException>(bytes);

    private string MessageOf<T>(byte[] bytes)
        where T : Exception => _folder.Message<T>(
        () => JsonFile.Read<Numbered>(
            _folder.Put("a.json", bytes), 1000, Options, "a file of numbers", "make it again"));

    /// <summary>What other languages write, and the words for it.</summary>
    public static TheoryData<string, string> Dialects => new()
    {
        { "{\"n\": NaN}", "NaN, for which JSON writes null" },
        { "{\"n\": -Infinity}", "-Infinity, for which JSON writes null" },
        { "{\"n\": nan}", "nan, for which JSON writes null" },
        { "{\"n\": None}", "None, for which JSON writes null" },
        { "{\"n\": True}", "True, for which JSON writes true" },
        { "{\"n\": undefined}", "undefined, for which JSON writes null" },
        { "{'n': 1}", "a single quote, for which JSON writes \"" },
        { "{\"n\": 'x'}", "a single quote, for which JSON writes \"" },
        { "{“n”: 1}", "a curly quote, for which JSON writes \"" },
        { "{\"n\": 1, // one\n\"m\": 2}", "a comment, which JSON does not have: remove it" },
        { "{\"n\": 1 /* one */}", "a comment, which JSON does not have: remove it" },
        { "{\"n\": 1} # one", "a comment, which JSON does not have: remove it" },
        { "{\"n\": 1,}", "a comma before the closing bracket" },
        { "{n: 1}", "the key n without quotes, for which JSON writes \"n\"" },
        { "{\"n\": hello}", "the word hello without quotes, for which JSON writes \"hello\"" },
        { "{\"n\": .5}", ".5, where JSON writes numbers like 10, 0.5 or 1e-3" },
        { "{\"n\": +1}", "+1, where JSON writes numbers like 10, 0.5 or 1e-3" },
        { "{\"n\": 007}", "007, where JSON writes numbers like 10, 0.5 or 1e-3" },
        { "{\"n\": 0x1F}", "0x1F, where JSON writes numbers like 10, 0.5 or 1e-3" },
        { "{\"n\": \"C:\\dir\"}", "a backslash inside a text, for which JSON writes \\\\" },
        { "{\"n\": 1 \"m\": 2}", "a comma or a closing bracket is missing" },
        { "{\"n\": 1} {\"n\": 2}", "something follows the end of the JSON" },
        { "{\"n\":\uFEFF 1}", "a byte order mark inside the text: remove it" },
        { "{\"n\": \"a\tb\"}", "a tab inside a text, for which JSON writes \\t" },
    };

    [Theory]
    [MemberData(nameof(Dialects))]
    public void What_other_languages_write_is_told_with_what_JSON_writes_by_every_reader(string json, string words)
    {
        json = json.Replace(@"\dir", @"\d", StringComparison.Ordinal);
        Assert.Equal(
            $"DIR/a.json: cannot be read (line 1: {words}); expected a file of numbers. Make it again.",
            MessageOf(Encoding.UTF8.GetBytes(json)).Replace(" at 'n'", "", StringComparison.Ordinal));
        Assert.Equal(
            $"f.json:3: not valid JSON: {words}; expected strict JSON, without comments or trailing commas.",
            Assert.Throws<UserException>(() => ConfigJson.Parse("\n\n" + json, "f.json")).Message);
        Assert.Equal(
            $"t.json: line 1: {words}; expected well-formed JSON.",
            Assert.Throws<UserException>(() => JsonPart.Parse(Encoding.UTF8.GetBytes(json), "t.json")).Message);
    }

    [Fact]
    public void A_byte_order_mark_is_passed_over() => Assert.Equal(
        new Numbered(3, "x"),
        JsonFile.Read<Numbered>(
            _folder.Put("a.json", [.. "\uFEFF"u8, .. """{"n": 3, "text": "x"}"""u8]), 1000, Options, "numbers"));

    [Fact]
    public void A_text_that_is_not_Unicode_is_told_with_its_line_wherever_it_is()
    {
        const string Expected =
            "DIR/a.json: cannot be read (line 2: a text that is not valid Unicode; save the file as UTF-8); "
            + "expected a file of numbers. Make it again.";
        Assert.Equal(Expected, MessageOf([.. "{\n\"text\": \""u8, 0xFF, .. "\", \"n\": 1}"u8]));
        Assert.Equal(Expected, MessageOf([.. "{\n\"other\": \""u8, 0xC3, .. "\", \"n\": 1}"u8]));
        Assert.Equal(Expected, MessageOf([.. "{\n\""u8, 0x80, .. "\": 1, \"n\": 1}"u8]));
        Assert.Equal(Expected, MessageOf([.. "{\n\"text\": \"\\ud800\", \"n\": 1}"u8]));
        Assert.Equal(Expected, MessageOf([.. "{\n\"text\": [[\"\\udc00x\"]], \"n\": 1}"u8]));
    }

    [Theory]
    [InlineData("", "(line 1: there is no JSON)")]
    [InlineData("{\"n\": 1,", "(line 1: Expected")]
    [InlineData("null", "the value is null")]
    [InlineData("{}", "(line 1: keys are missing: 'n')")]
    [InlineData("{\"n\": \"x\"}", "line 1 at 'n': a value of another type")]
    [InlineData("{\"n\": 1, \"n\": 2}", "(line 1 at 'n': a key is set twice)")]
    public void What_is_not_the_value_is_told(string json, string reason)
    {
        var message = MessageOf(System.Text.Encoding.UTF8.GetBytes(json));
        Assert.StartsWith("DIR/a.json: cannot be read (", message, StringComparison.Ordinal);
        Assert.Contains(reason, message, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void A_line_that_is_cut_short_is_none()
    {
        Assert.True(JsonFile.TryParse<Numbered>("{\"n\": 1}", Options, out var value));
        Assert.Equal(1, value.N);
        Assert.False(JsonFile.TryParse<Numbered>("{\"n\": 1", Options, out _));
        Assert.False(JsonFile.TryParse<Numbered>("{\"n\": 1, \"text\": \"\\ud800\"}", Options, out _));
    }

    [Fact]
    public void A_file_above_the_limit_is_not_read() => Assert.Equal(
        "DIR/a.json: 1,001 bytes; expected at most 1,000 bytes. Check that this is the right file.",
        MessageOf<FileOperationException>(new byte[1001]));
}

public class SampledHashTests
{
    [Fact]
    public void A_small_file_is_hashed_whole()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "small");
        File.WriteAllBytes(path, [1, 2, 3]);
        Assert.Equal(Sha256.OfFile(path), SampledHash.OfFile(path));
    }

    [Fact]
    public void A_large_file_is_told_apart_by_its_size_its_ends_and_samples()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "large");
        var bytes = new byte[(16 << 20) + 1];
        new Random(1).NextBytes(bytes);
        var first = Write(bytes);
        Assert.Matches("^sampled-[0-9a-f]{64}$", first);
        Assert.Equal(first, Write(bytes));
        Assert.NotEqual(first, Write([.. bytes, 0]));
        foreach (var at in new[] { 0, bytes.Length - 1, bytes.Length / 63 * 30 })
        {
            bytes[at] ^= 1;
            Assert.NotEqual(first, Write(bytes));
            bytes[at] ^= 1;
        }

        string Write(byte[] content)
        {
            File.WriteAllBytes(path, content);
            return SampledHash.OfFile(path);
        }
    }
}
