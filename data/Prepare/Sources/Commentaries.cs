using System.Buffers.Binary;
using System.IO.Compression;
using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>Two commentaries of the public domain, kept as modules of the SWORD library.</summary>
internal static partial class Commentaries
{
    public const string HenryPackage = "sword-comm-mhcc";
    public const string SpurgeonPackage = "sword-comm-tdavid";

    private const int IndexEntry = 12; // offset, bytes there, bytes inflated: little endian
    private const int ShortestParagraph = 40; // shorter ones are headings: "Verses 24-28"

    /// <summary>Matthew Henry's Concise Commentary, a document a book of the Bible.</summary>
    public static IEnumerable<Document> Henry(InstalledPackages packages) =>
        Documents("henry", packages, HenryPackage);

    /// <summary>C. H. Spurgeon's Treasury of David, a document a psalm.</summary>
    public static IEnumerable<Document> Spurgeon(InstalledPackages packages) =>
        Documents("spurgeon", packages, SpurgeonPackage);

    private static IEnumerable<Document> Documents(string source, InstalledPackages packages, string package) =>
        packages.Read(package, files => files.Chunk(2).SelectMany(pair => Blocks(pair[0], pair[1])).ToList())
            .Select((block, index) => new Document(source, $"{index}", ParagraphsOf(block)))
            .Where(document => document.Paragraphs.Count > 0);

    private static IEnumerable<string> Blocks(byte[] index, byte[] data)
    {
        for (var at = 0; at + IndexEntry <= index.Length; at += IndexEntry)
        {
            var offset = BinaryPrimitives.ReadInt32LittleEndian(index.AsSpan(at));
            var length = BinaryPrimitives.ReadInt32LittleEndian(index.AsSpan(at + 4));
            if (length == 0)
                continue;
            var block = data.AsSpan().Slice(offset, length).ToArray();
            yield return Inflated.Text(new ZLibStream(new MemoryStream(block), CompressionMode.Decompress));
        }
    }

    private static List<string> ParagraphsOf(string block)
    {
        var text = Hidden().Replace(WhiteSpace.Collapse(block), "\n");
        text = ParagraphEnd().Replace(text, "\n");
        var lines = Html.WithoutMarkup(Tag().Replace(text, ""));
        return [.. Passages.ParagraphsOf(lines).Where(line => line.Length >= ShortestParagraph)];
    }

    // Outlines and headings.
    [GeneratedRegex(@"<(table|title)(?![A-Za-z])[\s\S]*?</\1>")]
    private static partial Regex Hidden();

    [GeneratedRegex("""<div [^>]*type="x-p"[^>]*>|<chapter [^>]*>|</?lg?(?: [^>]*)?>|<lb[^>]*>""")]
    private static partial Regex ParagraphEnd();

    [GeneratedRegex("<[^>]*>")]
    private static partial Regex Tag();
}
