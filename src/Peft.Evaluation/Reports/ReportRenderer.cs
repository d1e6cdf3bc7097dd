using System.Text.Json;
using Peft.Formats;
using Peft.Formats.Templates;
using Scriban.Runtime;

namespace Peft.Evaluation.Reports;

/// <summary>A template and a model become a text.</summary>
public static class ReportRenderer
{
    private static readonly JsonSerializerOptions Names = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>Renders a template. All that it prints is made harmless in its format.</summary>
    /// <exception cref="UserException">The template asks for what is not there, is none, or goes on without end.</exception>
    public static string Render(TemplateFile template, ReportModel model) => Render(template, model, new TemplateLimits());

    /// <summary>Renders a template within other limits.</summary>
    /// <exception cref="UserException">The template asks for what is not there, is none, or goes past a limit.</exception>
    public static string Render(TemplateFile template, ReportModel model, TemplateLimits limits)
    {
        ArgumentNullException.ThrowIfNull(template);
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(limits);
        var engine = new TemplateEngine(new TemplateOptions
        {
            Limits = limits,
            Escape = text => DataEncoder.Encode(template.Format, text),
            Functions = ReportFunctions.Of(model),
            Without = ReportFunctions.Refused,
        });
        var parsed = TemplateCheck.Run(template, engine.HasFunction);
        return engine.Render(parsed, (ScriptObject)TemplateValues.OfJson(JsonSerializer.SerializeToElement(model, Names))!);
    }
}
