using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Peft.Evaluation.Metrics;
using Peft.Formats;
using Peft.Formats.Templates;
using Scriban.Runtime;

namespace Peft.Evaluation.Reports;

/// <summary>A template and a model become a text.</summary>
public static class ReportRenderer
{
    private static readonly JsonSerializerOptions Names = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
    };

    /// <summary>Renders a template. All that it prints is made harmless in its format.</summary>
    /// <exception cref="UserException">The template asks for what is not there, is not one, or never ends.</exception>
    public static string Render(TemplateFile template, ReportModel model) =>
        Render(template, model, new TemplateLimits());

    /// <summary>Renders a template within other limits.</summary>
    /// <exception cref="UserException">The template asks for what is not there, is not one, or exceeds a
    /// limit.</exception>
    public static string Render(TemplateFile template, ReportModel model, TemplateLimits limits)
    {
        var engine = new TemplateEngine(new TemplateOptions
        {
            Limits = limits,
            Escape = text => DataEncoder.Encode(template.Format, text),
            Functions = ReportFunctions.Of(model),
            Without = ReportFunctions.Refused,
        });
        var parsed = TemplateCheck.Run(template, engine.HasFunction);
        return engine.Render(
            parsed, (ScriptObject)TemplateValues.OfJson(JsonSerializer.SerializeToElement(model, Names))!);
    }
}

/// <summary>
/// What report templates can call beside Scriban's functions. These three are all that gets into an output without
/// being made harmless: each is made by the program, and no template can give them a text of its own.
/// </summary>
internal static class ReportFunctions
{
    /// <summary>Writes a file that comes with the program as it is.</summary>
    public const string Inline = "inline";

    private const string Policy = "content_security_policy";
    private const string Data = "chart_data";
    private static readonly string[] Scripts = [ChartLibrary.FileName, "report.js"];

    /// <summary>
    /// What can be inlined: the style of the report, the chart library, and the script that draws the charts.
    /// </summary>
    public static IReadOnlyList<string> Inlined { get; } = ["report.css", .. Scripts];

    /// <summary>Scriban's functions that reports do without: what models wrote is never put in as markup.</summary>
    public static IReadOnlyCollection<string> Refused { get; } = ["raw"];

    /// <summary>Names of the functions.</summary>
    public static IReadOnlyList<string> Names { get; } = [Inline, Data, Policy];

    /// <summary>The functions over a model.</summary>
    public static IReadOnlyDictionary<string, Delegate> Of(ReportModel model)
    {
        var texts = new Dictionary<string, string>();
        return new Dictionary<string, Delegate>
        {
            [Inline] = (string name) => new RawText(Text(name)),
            [Data] = () => new RawText(model.ChartsJson),
            // Scripts run by their hashes: were a text ever to get into the page as markup, the browser would not run
            // it.
            [Policy] = () => new RawText("default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src "
                + string.Join(' ', Scripts.Select(name => $"'sha256-{Sha256(Text(name))}'"))),
        };

        static string Sha256(string text) => Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

        string Text(string name)
        {
            if (texts.TryGetValue(name, out var known))
                return known;
            if (!Inlined.Contains(name))
                throw new ArgumentException($"{Inline} takes one of {string.Join(", ", Inlined)}", nameof(name));
            var text = name == ChartLibrary.FileName ? ChartLibrary.Read() : TemplateFile.Resource(name);
            if (
                text.Contains("</script", StringComparison.OrdinalIgnoreCase)
                    || text.Contains("</style", StringComparison.OrdinalIgnoreCase))
                throw new InvalidOperationException($"{name} would end the element it stands in");
            // A page's line ends are read as \n, and the hash is taken over what is read.
            return texts[name] = text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        }
    }
}

/// <summary>
/// Finds the chart library that the page carries: beside the program, then what <c>make setup</c> installed above it.
/// </summary>
public static class ChartLibrary
{
    /// <summary>Name of the file beside the program.</summary>
    public const string FileName = "echarts.min.js";

    private static readonly string Installed = Path.Combine(
        ".artifacts", "npm", "node_modules", "echarts", "dist", FileName);

    /// <summary>Its text.</summary>
    /// <exception cref="UserException">It is not installed.</exception>
    public static string Read() => File.ReadAllText(Locate(AppContext.BaseDirectory));

    /// <summary>Its file.</summary>
    /// <exception cref="UserException">It is not installed.</exception>
    public static string Locate(string programFolder)
    {
        var beside = Path.Combine(programFolder, FileName);
        if (File.Exists(beside))
            return beside;
        for (var folder = programFolder; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (Path.Combine(folder, Installed) is var installed && File.Exists(installed))
                return installed;
        }
        throw UserException.At(
            FileName, $"neither beside the program ({programFolder}) nor in {Installed} above it",
            "the library that draws the charts of report.html", "run `make setup build`, or use --template report.md");
    }
}
