using System.Globalization;
using System.Text.Json;

namespace Peft.Jinja.Tests;

/// <summary>Text, spans and errors of the reference: jinja2 3.1.2 set up as transformers does.</summary>
public sealed class ConformanceTests
{
    public static TheoryData<string> Micro => [.. Suite.Micro.Cases.Select(entry => entry.Name)];

    public static TheoryData<string> Templates => SharedAssets.Folder is null ? [""] : [.. Suite.TemplateNames];

    [Theory]
    [MemberData(nameof(Micro))]
    public void A_feature_gives_what_the_reference_gives(string name)
    {
        var entry = Suite.Micro.Cases.Single(one => one.Name == name);
        Assert.Equal(entry.Wanted, entry.Got());
    }

    [SharedTheory]
    [MemberData(nameof(Templates))]
    public void A_real_template_gives_what_the_reference_gives(string name)
    {
        var wrong = Suite.Read(SharedAssets.Path("vectors", "chat", name + ".json")).Cases
            .Select(entry => (entry.Name, entry.Wanted, Got: entry.Got())).Where(entry => entry.Wanted != entry.Got)
                .ToList();
        Assert.True(wrong.Count == 0, $"{wrong.Count} cases differ, the first: {wrong.FirstOrDefault()}");
    }

    /// <summary>The cases of one file.</summary>
    private sealed record Suite(IReadOnlyList<Case> Cases)
    {
        public static Suite Micro { get; } =
            Read(Path.Combine(SharedAssets.Repository, "tests", "golden", "jinja", "micro.json"));

        public static IEnumerable<string> TemplateNames =>
            Directory.EnumerateFiles(SharedAssets.Path("vectors", "chat"), "*.json")
            .Select(file => Path.GetFileNameWithoutExtension(file)).Where(file => file != "micro")
                .Order(StringComparer.Ordinal);

        public static Suite Read(string path)
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            var root = document.RootElement.Clone();
            return new Suite([.. root.GetProperty("cases").EnumerateArray().Select(entry => new Case(root, entry))]);
        }
    }

    private sealed record Case(JsonElement File, JsonElement Entry)
    {
        public string Name => Entry.GetProperty("name").GetString()!;

        /// <summary>The text with its spans, or the error: its words where the template raised it, else only that there
        /// is one.</summary>
        public string Wanted
        {
            get
            {
                if (Entry.TryGetProperty("expected", out var text))
                    return text.GetString()
                        + Spans(Entry.TryGetProperty("spans_utf16", out var units) ? units
                            : Entry.TryGetProperty("spans", out var spans) ? spans : default);
                return Entry.GetProperty("error_kind").GetString() == "raise_exception" ? "raised: "
                    + Entry.GetProperty("error").GetString() : "error";
            }
        }

        public string Got()
        {
            var template =
                (Entry.TryGetProperty("template", out var own) ? own : File.GetProperty("template")).GetString()!;
            var now = DateTime.Parse(File.GetProperty("now").GetString()!, CultureInfo.InvariantCulture);
            try
            {
                var result = JinjaTemplate.Parse(template).Render(Variables(), now);
                // The small cases count code points only.
                int Place(int unit) =>
                    Entry.TryGetProperty("spans_utf16", out _) ? unit : result.Text[..unit].EnumerateRunes().Count();
                var spans = result.Generated.Select(span => $" [{Place(span.Start)},{Place(span.End)})");
                return result.Text + (Entry.TryGetProperty("spans", out _) ? string.Concat(spans) : "");
            }
            catch (JinjaException error)
            {
                return error.Kind == JinjaErrorKind.Raised ? "raised: " + error.Message
                    : Entry.TryGetProperty("error", out _) ? "error" : "error: " + error.Message;
            }
        }

        private static string Spans(JsonElement spans) => spans.ValueKind != JsonValueKind.Array ? ""
            : string.Concat(spans.EnumerateArray().Select(span => $" [{span[0].GetInt32()},{span[1].GetInt32()})"));

        private Dictionary<string, JsonElement> Variables()
        {
            var variables = new Dictionary<string, JsonElement>();
            void AddAll(JsonElement owner, string key)
            {
                if (owner.TryGetProperty(key, out var items) && items.ValueKind == JsonValueKind.Object)
                {
                    foreach (var item in items.EnumerateObject()
                        .Where(item => item.Value.ValueKind != JsonValueKind.Null || key != "special_tokens"))
                        variables[item.Name] = item.Value;
                }
            }

            if (File.TryGetProperty("vars", out _))
            {
                AddAll(File, "vars");
                return variables;
            }

            AddAll(File, "special_tokens");
            foreach (var key in new[] { "messages", "tools", "documents", "add_generation_prompt" })
                variables[key] = Entry.TryGetProperty(key, out var value) ? value : default;
            AddAll(Entry, "kwargs");
            return variables;
        }
    }
}
