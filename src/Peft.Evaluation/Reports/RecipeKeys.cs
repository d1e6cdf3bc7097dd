using System.Text.Encodings.Web;
using System.Text.Json;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Reports;

/// <summary>Recipes as flat lists of keys, and what differs between them.</summary>
internal static class RecipeKeys
{
    private const int LongestValue = 120; // characters
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Every key with a value, by dotted path, in the order of the recipe; lists of plain values stay together.</summary>
    public static IReadOnlyList<RecipeValue> Of(Subject subject)
    {
        var keys = new List<RecipeValue>();
        if (subject.Recipe is { ValueKind: JsonValueKind.Object } recipe)
            Add(recipe, "", keys);
        return keys;
    }

    /// <summary>Keys whose values differ between recipes; where the result goes is not one of them.</summary>
    public static IReadOnlyList<RecipeChange> Changes(IReadOnlyList<IReadOnlyList<RecipeValue>> recipes)
    {
        if (recipes.Count < 2 || recipes.Any(recipe => recipe.Count == 0))
            return [];
        var values = recipes.Select(recipe => recipe.DistinctBy(v => v.Key).ToDictionary(v => v.Key, v => v.Value)).ToList();
        return [.. recipes.SelectMany(recipe => recipe.Select(v => v.Key)).Distinct()
            .Where(key => key != "output_dir")
            .Select(key => new RecipeChange(key, [.. values.Select(v => v.GetValueOrDefault(key, ReportText.Dash))]))
            .Where(change => change.Values.Distinct().Count() > 1)];
    }

    private static void Add(JsonElement node, string path, List<RecipeValue> keys)
    {
        if (node.ValueKind == JsonValueKind.Object && node.EnumerateObject().Any())
        {
            foreach (var property in node.EnumerateObject())
                Add(property.Value, path.Length == 0 ? property.Name : $"{path}.{property.Name}", keys);
        }
        else if (node.ValueKind == JsonValueKind.Array && node.EnumerateArray().Any(item => item.ValueKind == JsonValueKind.Object))
        {
            foreach (var (i, item) in node.EnumerateArray().Index())
                Add(item, $"{path}[{i}]", keys);
        }
        else if (node.ValueKind != JsonValueKind.Null)
        {
            keys.Add(new(path, ReportText.Cut(
                node.ValueKind == JsonValueKind.String ? node.GetString()! : JsonSerializer.Serialize(node, Plain), LongestValue)));
        }
    }
}
