using System.Security.Cryptography;
using System.Text;
using HandlebarsDotNet;

namespace Peft.Evaluation.Reports;

/// <summary>What templates can call beside Handlebars' own blocks.</summary>
internal static class TemplateHelpers
{
    /// <summary>Writes a file that comes with the program as it is.</summary>
    public const string Inline = "inline";

    private const string Policy = "content_security_policy";
    private const string Data = "chart_data";
    private static readonly string[] Scripts = [ChartLibrary.FileName, "report.js"];

    /// <summary>What can be inlined: the style of the report, the chart library, and the script that draws the charts.</summary>
    public static IReadOnlyList<string> Inlined { get; } = ["report.css", .. Scripts];

    /// <summary>The helpers, and how many words each takes.</summary>
    public static IReadOnlyDictionary<string, (int Fewest, int Most, string Usage)> Names { get; } =
        new Dictionary<string, (int, int, string)>
        {
            [Inline] = (1, 1, "{{inline \"FILE\"}}"),
            [Policy] = (0, 0, $"{{{{{Policy}}}}}"),
            [Data] = (0, 0, $"{{{{{Data}}}}}"),
        };

    /// <summary>Makes them known.</summary>
    public static void Register(IHandlebars handlebars, ReportModel model)
    {
        var texts = new Dictionary<string, string>();
        handlebars.RegisterHelper(Inline, (output, _, arguments) => output.WriteSafeString(Text((string)arguments[0]!)));
        handlebars.RegisterHelper(Data, (output, _, _) => output.WriteSafeString(model.ChartsJson));
        // Scripts run by their hashes: were a text ever to get into the page as markup, the browser would not run it.
        handlebars.RegisterHelper(Policy, (output, _, _) => output.WriteSafeString(
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src "
            + string.Join(' ', Scripts.Select(name => $"'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(Text(name))))}'"))));

        string Text(string name)
        {
            if (texts.TryGetValue(name, out var known))
                return known;
            var text = name == ChartLibrary.FileName ? ChartLibrary.Read() : TemplateFile.Resource(name);
            if (text.Contains("</script", StringComparison.OrdinalIgnoreCase) || text.Contains("</style", StringComparison.OrdinalIgnoreCase))
                throw new InvalidOperationException($"{name} would end the element it stands in");
            // A page's line ends are read as \n, and the hash is taken over what is read.
            return texts[name] = text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        }
    }
}
