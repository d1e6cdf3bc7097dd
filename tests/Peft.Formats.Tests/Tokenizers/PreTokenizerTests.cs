using System.Text;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class PreTokenizerTests
{
    [Theory]
    [InlineData("Removed", false, "a,b")]
    [InlineData("Isolated", false, "a,-,b,-,-")]
    [InlineData("MergedWithPrevious", false, "a-,b-,-")]
    [InlineData("MergedWithNext", false, "a,-b,-,-")]
    [InlineData("Contiguous", false, "a,-,b,--")]
    [InlineData("Removed", true, "-,-,-")]
    [InlineData("MergedWithPrevious", true, "a,-b,-,-")]
    public void Split_has_five_behaviors(string behavior, bool invert, string expected)
    {
        var inverts = invert ? "true" : "false";
        var json = $$"""{"type":"Split","pattern":{"String":"-"},"behavior":"{{behavior}}","invert":{{inverts}}}""";
        var regex = json.Replace("\"String\"", "\"Regex\"", StringComparison.Ordinal);
        Assert.Equal(expected, Split(json, "a-b--"));
        Assert.Equal(Split(json, "a-b--"), Split(regex, "a-b--"));
        Assert.Equal(Split(json, "--a-b"), Split(regex, "--a-b"));
    }

    [Theory]
    [InlineData("""{"type":"Digits","individual_digits":true}""", "ab12𝟘c", "ab,1,2,𝟘,c")]
    [InlineData("""{"type":"Digits","individual_digits":false}""", "ab12𝟘c", "ab,12𝟘,c")]
    [InlineData("""{"type":"Whitespace"}""", "don't  x_1 𝐀e\u0301!", "don,',t,x_1,𝐀e\u0301,!")]
    [InlineData("""{"type":"WhitespaceSplit"}""", " a\u3000b\n ", "a,b")]
    [InlineData("""{"type":"Punctuation"}""", "a.b$¿c€", "a,.,b,$,¿,c€")]
    [InlineData("""{"type":"Punctuation","behavior":"Contiguous"}""", "a..b", "a,..,b")]
    [InlineData(
        """{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}""", "a b  c", "▁a,▁b,▁,▁c")]
    [InlineData("""{"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false}""", "a b", "a▁b")]
    [InlineData("""{"type":"Metaspace","replacement":"▁","add_prefix_space":false}""", "a b", "a,▁b")]
    [InlineData("""{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}""", "é 'll", "ĠÃ©,Ġ',ll")]
    [InlineData("""{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}""", "a b", "aĠb")]
    [InlineData(
        """
        {"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Digits","individual_digits":true}]}
        """,
        "a1 23", "a,1,2,3")]
    public void Pre_tokenizers_cut_as_the_originals(string json, string text, string expected) =>
        Assert.Equal(expected, Split(json, text));

    [Theory]
    [InlineData("It's 12345 o'clock,  we'LL\n\n go", "It|'s| |123|45| o|'clock|,| | we|'LL|\n\n| go")]
    [InlineData("we'ſ 𝐀𝐁 𠀀x 😀😀!\r\n", "we|'ſ| 𝐀𝐁| 𠀀x| 😀😀!\r\n")]
    [InlineData("  \n \t x", "  \n| \t| x")]
    public void Llama3s_pattern_cuts_by_code_points(string text, string expected) =>
        Assert.Equal(expected, string.Join('|', Scan(new Llama3Scanner(3), text)));

    [Theory]
    [InlineData(Gpt2Scanner.Pattern, 0)]
    [InlineData(Llama3Scanner.Llama3Pattern, 3)]
    [InlineData(Llama3Scanner.Qwen2Pattern, 1)]
    public void Scanners_cut_as_their_patterns_do(string pattern, int digits)
    {
        Utf8Scanner scanner = digits == 0 ? Gpt2Scanner.Shared : new Llama3Scanner(digits);
        var regex = new TokenizerRegex(pattern, "test");
        string[] alphabet =
        [
            "a", "Z", "é", "𝐀", "𠀀", "1", "Ⅷ", "𝟘", " ", "  ", "\n", "\r", "\t", "\u00a0", "\u3000", "'", "'s",
            "'LL", "'Re", "!", "_", "😀", "\u0301",
        ];
        var random = new Random(11);
        for (var round = 0; round < 3000; round++)
        {
            var text = string.Concat(
                Enumerable.Range(0, random.Next(1, 20)).Select(_ => alphabet[random.Next(alphabet.Length)]));
            var expected = regex.Matches(text).Select(match => text[match.Start..match.End]);
            Assert.Equal(string.Join('|', expected), string.Join('|', Scan(scanner, text)));
        }
    }

    [Theory]
    [InlineData(@"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++", " ab", " ab")]
    [InlineData(@"a{1,2}+", "xaaaay", "aaaa")]
    [InlineData(@"\x{61}|\p{^L}", "ab1", "a,1")]
    [InlineData(@"\s?\p{L}+", "\u2028</s>\u2581\u2581'R", "s,R")]
    [InlineData(@"(?:ab)++c|[()]++", "ababc))", "ababc,))")]
    public void Foreign_syntax_of_patterns_is_translated(string pattern, string text, string expected) =>
        Assert.Equal(expected, string.Join(
            ',', new TokenizerRegex(pattern, "test").Matches(text).Select(match => text[match.Start..match.End])));

    [Theory]
    [InlineData(@"[a[b]]")]
    [InlineData(@"\h+")]
    [InlineData(@"\p{Han}+")]
    [InlineData(@"(a")]
    [InlineData(@"a)")]
    [InlineData(@"\x{1F600}")]
    [InlineData(@"[a")]
    [InlineData("a\\")]
    public void A_pattern_that_cannot_be_run_is_refused(string pattern)
    {
        var error = Assert.Throws<UserException>(() => new TokenizerRegex(pattern, "the place"));
        Assert.StartsWith($"the place: the pattern '{pattern}'", error.Message, StringComparison.Ordinal);
    }

    private static string Split(string json, string text)
    {
        var pieces = new List<Piece> { new(new SourceText(text, isTracked: false), 0, text.Length, true) };
        foreach (var step in PreTokenizerReader.Read(JsonPart.Parse(Encoding.UTF8.GetBytes(json), "test")))
        {
            var parts = new List<Piece>();
            pieces.ForEach(piece => step.Split(piece, parts));
            pieces = parts;
        }

        return string.Join(',', pieces.Select(piece => piece.Span.ToString()));
    }

    private static IEnumerable<string> Scan(Utf8Scanner scanner, string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        for (var start = 0; start < utf8.Length;)
        {
            var end = scanner.NextEnd(utf8, start);
            yield return Encoding.UTF8.GetString(utf8, start, end - start);
            start = end;
        }
    }
}
