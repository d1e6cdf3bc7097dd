using System.Text;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

/// <summary>The library's merging against ours, and how much work a long word is.</summary>
public sealed class MergingTests
{
    private static readonly string[] Merges =
    [
        "a b", "b a", "a a", "b b", "ab ab", "ba ba", "aa b", "abab a", "bb bb", "a ab", "ab a", "aba b", "Ġ a", "Ġa b",
    ];

    [Fact]
    public void The_library_merges_as_ours_do()
    {
        var (vocabulary, table) = Make(Merges);
        var library = new LibraryMerger(vocabulary, table);
        library.Start();
        var ours = new SymbolMerger(table);
        var random = new Random(5);
        for (var round = 0; round < 2000; round++)
        {
            var word = Word(random, random.Next(1, round % 10 == 0 ? LibraryMerger.LongestWord : 40));
            var ids = new IdBuffer();
            Assert.True(library.TryAppend(word, ids));
            Assert.Equal(MergeByOurs(ours, vocabulary, word), ids.Span.ToArray());
        }
    }

    [Fact]
    public void Merges_that_the_library_cannot_read_and_no_word_needs_are_left_out()
    {
        var (vocabulary, table) = Make(["a b", "b c"]);
        Assert.True(
            vocabulary.TryAdd("x y"u8, 300) && vocabulary.TryAdd("x y▁"u8, 301) && vocabulary.TryAdd("▁"u8, 302));
        table.Set(300, 302, 0, 301);
        // The same pair a second time, later.
        table.Set(vocabulary.Find("a"), vocabulary.Find("b"), 9, vocabulary.Find("ab"));
        var library = new LibraryMerger(vocabulary, table);
        library.Start();
        var ids = new IdBuffer();
        Assert.True(library.TryAppend("abc"u8, ids));
        Assert.Equal("a|bc", string.Join('|', ids.Span.ToArray().Select(vocabulary.TextOf)));
    }

    [Fact]
    public void A_word_too_long_is_not_for_the_library()
    {
        var (vocabulary, table) = Make(Merges);
        var library = new LibraryMerger(vocabulary, table);
        library.Start();
        var ids = new IdBuffer();
        Assert.True(library.TryAppend(new byte[LibraryMerger.LongestWord], ids));
        Assert.False(library.TryAppend(new byte[LibraryMerger.LongestWord + 1], ids));
        Assert.Equal(LibraryMerger.LongestWord, ids.Count);
    }

    [Fact]
    public void The_library_is_made_when_more_text_came_than_its_making_takes()
    {
        var (vocabulary, table) = Make(Merges);
        var library = new LibraryMerger(vocabulary, table);
        var ids = new IdBuffer();
        var refused = 0;
        while (!library.TryAppend("abab"u8, ids))
            refused++;
        Assert.Equal(16 * Merges.Length / "abab".Length, refused);
    }

    [Theory]
    [InlineData(1_000)]
    [InlineData(10_000)]
    [InlineData(1_000_000)]
    public void A_long_word_gives_the_heap_at_most_three_entries_a_symbol(int length)
    {
        var (vocabulary, table) = Make(Merges);
        var merger = new SymbolMerger(table);
        MergeByOurs(merger, vocabulary, Word(new Random(length), length));
        Assert.InRange(merger.HeapEntries, length / 2, 3L * length);
    }

    private static int[] MergeByOurs(SymbolMerger merger, TokenVocabulary vocabulary, byte[] word)
    {
        var symbols = word.Select(value => vocabulary.Find(ByteAlphabet.CharacterOf(value).ToString())).ToArray();
        return symbols[..merger.Merge(symbols)];
    }

    private static byte[] Word(Random random, int length) =>
        [.. Enumerable.Range(0, length).Select(_ => (byte)"aaabbb c"[random.Next(8)])];

    private static (TokenVocabulary Vocabulary, MergeTable Table) Make(string[] merges)
    {
        var vocabulary = new TokenVocabulary();
        foreach (var character in ByteAlphabet.InOrder)
            vocabulary.TryAdd(Encoding.UTF8.GetBytes([character]), vocabulary.Count);
        var table = new MergeTable();
        for (var rank = 0; rank < merges.Length; rank++)
        {
            var parts = merges[rank].Split(' ');
            vocabulary.TryAdd(Encoding.UTF8.GetBytes(parts[0] + parts[1]), vocabulary.Count);
            table.Set(vocabulary.Find(parts[0]), vocabulary.Find(parts[1]), rank, vocabulary.Find(parts[0] + parts[1]));
        }

        return (vocabulary, table);
    }
}
