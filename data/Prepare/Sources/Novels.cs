using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>The six novels of Jane Austen, each a vector of lines in a database of R.</summary>
internal static partial class Novels
{
    public const string Package = "r-cran-janeaustenr";

    // R's serialization: big-endian integers; an object begins with its type in the lowest byte.
    private const int TextVector = 16;
    private const int Missing = -1;
    private static readonly byte[] PairOfIntegers = [0, 0, 0, 13, 0, 0, 0, 2];

    /// <summary>The chapters, and what stands before the first, a document each.</summary>
    public static IEnumerable<Document> Chapters(InstalledPackages packages)
    {
        foreach (var lines in packages.Read(Package, files => Vectors(files[0], files[1])))
        {
            var novel = lines[0].ToLowerInvariant().Replace(' ', '_');
            var starts = lines.Index().Where(line => ChapterHeading().IsMatch(line.Item)).Select(line => line.Index);
            int[] bounds = [0, .. starts, lines.Length];
            foreach (var (number, (start, end)) in bounds.Zip(bounds.Skip(1)).Index())
            {
                var paragraphs = ParagraphsOf(lines[start..end]);
                if (paragraphs.Count > 0)
                    yield return new("austen", $"{novel}/{number}", paragraphs);
            }
        }
    }

    // Lines up to an empty one; the underscores of emphasis left out.
    private static List<string> ParagraphsOf(string[] lines)
    {
        var text = string.Join('\n', lines).Replace("_", "", StringComparison.Ordinal);
        return [.. text.Split("\n\n").Select(WhiteSpace.Collapse).Where(paragraph => paragraph.Length > 0)];
    }

    // The index names the place and the length of each object by a pair of integers.
    private static List<string[]> Vectors(byte[] index, byte[] database)
    {
        var vectors = new List<string[]>();
        var places = Inflated.Bytes(new GZipStream(new MemoryStream(index), CompressionMode.Decompress)).AsSpan();
        for (var next = places.IndexOf(PairOfIntegers); next >= 0; next = places.IndexOf(PairOfIntegers))
        {
            places = places[(next + PairOfIntegers.Length)..];
            var offset = BinaryPrimitives.ReadInt32BigEndian(places);
            var length = BinaryPrimitives.ReadInt32BigEndian(places[4..]);
            // Before the packed bytes stands how many they are when inflated.
            var packed = new MemoryStream(database.AsSpan().Slice(offset, length)[4..].ToArray());
            vectors.Add(TextsOf(Inflated.Bytes(new ZLibStream(packed, CompressionMode.Decompress))));
        }

        return vectors;
    }

    // "X\n", version, two versions of R, the name of the encoding; then the vector.
    private static string[] TextsOf(byte[] data)
    {
        var rest = data.AsSpan(14);
        rest = rest[(4 + BinaryPrimitives.ReadInt32BigEndian(rest))..];
        if ((BinaryPrimitives.ReadInt32BigEndian(rest) & 0xff) != TextVector)
            throw new InvalidDataException("expected a vector of texts");
        var texts = new string[BinaryPrimitives.ReadInt32BigEndian(rest[4..])];
        rest = rest[8..];
        for (var i = 0; i < texts.Length; i++)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(rest[4..]);
            texts[i] = length == Missing ? "" : Encoding.UTF8.GetString(rest.Slice(8, length));
            rest = rest[(8 + Math.Max(length, 0))..];
        }

        return texts;
    }

    [GeneratedRegex(@"\A(?:CHAPTER|Chapter) [0-9IVXL]+\.?\z")]
    private static partial Regex ChapterHeading();
}
