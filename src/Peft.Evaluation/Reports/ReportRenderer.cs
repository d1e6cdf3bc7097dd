using System.Text.Json;
using HandlebarsDotNet;
using Peft.Formats;

namespace Peft.Evaluation.Reports;

/// <summary>A template and a model become a text.</summary>
public static class ReportRenderer
{
    private static readonly JsonSerializerOptions Names = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>Renders a template.</summary>
    /// <exception cref="UserException">The template asks for what is not there, or is none.</exception>
    public static string Render(TemplateFile template, ReportModel model)
    {
        ArgumentNullException.ThrowIfNull(template);
        TemplateCheck.Run(template);
        var handlebars = Handlebars.Create(new HandlebarsConfiguration { TextEncoder = new DataEncoder(template.Format) });
        TemplateHelpers.Register(handlebars, model);
        try
        {
            return handlebars.Compile(template.Text)(Values(JsonSerializer.SerializeToElement(model, Names)));
        }
        catch (HandlebarsException e)
        {
            throw new UserException($"{template.Name}: {e.Message.Split('\n')[0].Trim()} - a Handlebars template - correct it there", e);
        }
    }

    // Handlebars reads dictionaries by the names that templates use.
    private static object? Values(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().ToDictionary(p => p.Name, p => Values(p.Value)),
        JsonValueKind.Array => element.EnumerateArray().Select(Values).ToList(),
        JsonValueKind.String => element.GetString(),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Number when element.TryGetInt64(out var whole) => whole,
        JsonValueKind.Number => element.GetDouble(),
        _ => null,
    };
}
