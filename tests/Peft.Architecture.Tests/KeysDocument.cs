using System.Collections;
using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Evaluation;
using Peft.Formats.Configuration;
using Peft.Recipes;
using Peft.Training;

namespace Peft.Architecture.Tests;

/// <summary>docs/keys.md: every key of a recipe with its default and meaning, made from the options themselves and
/// their documentation.</summary>
internal static partial class KeysDocument
{
    /// <summary>The file.</summary>
    public const string Path = "docs/keys.md";

    private const StringComparison Plain = StringComparison.Ordinal;

    private static readonly Dictionary<string, XElement> Documented = AllDocumented();

    /// <summary>What the file should hold.</summary>
    public static string Text()
    {
        var text = new StringBuilder("""
            # Every key of a recipe

            Made from the options in the code by `make test TESTS=tests/Peft.Architecture.Tests WRITE=1`. What they are for, with examples:
            [recipes/README.md](../recipes/README.md). `peft train RECIPE --dry-run` shows the values that a recipe ends up with.

            | key | value | what it is |
            |---|---|---|
            | `method` | Default adapter; adapter or full. | What is trained: adapters on a frozen base, or all parameters. |
            | `extends` | Default none. | A recipe whose keys this one changes; from this file's folder. |
            | `base_directories` | Default empty. | Folders that come before the others where a path of the recipe is looked for. |
            | `output_dir` | Default `adapters/NAME`. | Where the result goes. |


            """);
        Add(text, "model", typeof(ModelOptions), []);
        Add(text, "adapter", typeof(AdapterOptions),
            [
                ("from", "Default none; a bundle, an exported mixture, or a LoRA directory of PEFT's.",
                    "A trained adapter that is trained on."),
                ("router", "With `method: mixture`.", "How tokens choose experts; below."),
            ]);
        AddRouters(text);
        Add(text, "data", typeof(DataOptions),
            [
                ("train", "A list; keys of each: `data.train`, below.", "What is trained on."),
                ("eval", "A list as train; template, columns and task are those of train's set of the same name.",
                    "What the loss is measured on while training, and the tasks' rows."),
            ]);
        Add(text, "data.train", typeof(DataSetOptions),
            [
                ("files", "Required; a path or pattern, or a list.", "The files, all of one format."),
                ("format",
                    "Default by the ending of their names; also messages, sharegpt or alpaca, alone or in a list with "
                        + "it.",
                    "The format of all files."),
                ("template", "`{prompt, answer}`, or `{text}`; with a format of conversations none.",
                    "How a row becomes text."),
                ("columns", "Default none; name to expression, in their order.", "Further columns made of a row's."),
                ("filter", "Default none.", "A condition that rows must meet, over their columns."),
            ]);
        Add(text, "training", typeof(TrainingOptions), []);
        Add(text, "evaluation", typeof(EvaluationOptions), []);
        return text.ToString().TrimEnd() + "\n";
    }

    // One table for the keys that a class of routers has of its own, since most are shared.
    private static void AddRouters(StringBuilder text)
    {
        var entries = RouterCatalog.Entries;
        text.Append("## adapter.router\n\n`kind` is one of ")
            .Append(string.Join(", ", entries.Select(entry => $"`{entry.Kind}`").Order(StringComparer.Ordinal)))
            .Append(".\n\n");
        var byOwner = entries
            .SelectMany(entry => Declared(entry.First.GetType()).Select(key => (key.DeclaringType, entry.Kind)))
            .Distinct().GroupBy(pair => pair.DeclaringType!)
            .OrderByDescending(group => group.Count()).ThenBy(group => group.First().Kind, StringComparer.Ordinal);
        var inner = new List<(string Place, Type Type)>();
        foreach (var group in byOwner)
        {
            var kinds = group.Select(pair => $"`{pair.Kind}`").Distinct().Order(StringComparer.Ordinal).ToList();
            text.Append("### adapter.router of ").Append(string.Join(", ", kinds)).Append("\n\n");
            AddTable(
                text, "adapter.router", [.. Declared(group.Key).Where(key => key.DeclaringType == group.Key)], [],
                inner);
        }
        foreach (var (place, type) in inner.Distinct())
            Add(text, place, type, []);
    }

    private static void Add(
        StringBuilder text, string place, Type type, IReadOnlyList<(string Key, string Value, string Meaning)> more)
    {
        text.Append("## ").Append(place).Append("\n\n");
        var inner = new List<(string, Type)>();
        AddTable(text, place, Declared(type), more, inner);
        foreach (var (below, section) in inner)
            Add(text, below, section, below == "adapter.experts"
                ? [("from", "Default empty; a bundle of a mixture, or a LoRA directory for each expert.",
                    "Where the experts' first values come from; their router begins anew.")]
                : []);
    }

    private static void AddTable(
        StringBuilder text, string place, IReadOnlyList<PropertyInfo> keys,
        IReadOnlyList<(string Key, string Value, string Meaning)> more, List<(string Place, Type Type)> inner)
    {
        text.Append("| key | value | what it is |\n|---|---|---|\n");
        foreach (var key in keys)
        {
            var name = Keys.NameOf(key);
            var attribute = key.GetCustomAttribute<KeyAttribute>()!;
            var section = SectionOf(key.PropertyType);
            if (section is not null)
                inner.Add(($"{place}.{name}", section));
            var value = TextOf(key, "value");
            if (section is not null)
                value += $" Keys: `{place}.{name}`, below.";
            if (value.Length == 0 && attribute.Required)
                value = "Required.";
            if (value.Length == 0)
                value = DefaultOf(key);
            if (!attribute.Choices.All(choice => value.Contains(choice, StringComparison.Ordinal)))
                value += $" One of {string.Join(", ", attribute.Choices)}.";
            if (attribute.When is { } when)
                value += $" With `{when.Replace("=", ": ", Plain).Replace("|", " or ", Plain)}`.";
            Row(name, value, TextOf(key, "summary"));
        }
        foreach (var (key, value, meaning) in more)
            Row(key, value, meaning);
        text.Append('\n');

        void Row(string key, string value, string meaning) =>
            text.Append($"| `{key}` | {Cell(value)} | {Cell(meaning)} |\n");

        static string Cell(string words) => words.Trim().Replace("|", "\\|", StringComparison.Ordinal);
    }

    private static List<PropertyInfo> Declared(Type type) =>
        [.. type.GetProperties(BindingFlags.Instance | BindingFlags.Public)
            .Where(property => property.GetCustomAttribute<KeyAttribute>() is not null)];

    // The record behind a section or a list of sections.
    private static Type? SectionOf(Type type)
    {
        var item = type.IsGenericType && type.GetGenericArguments() is [var one]
            && type.GetInterfaces().Append(type).Any(known => known.IsGenericType
                && known.GetGenericTypeDefinition() == typeof(IEnumerable<>)) ? one : type;
        return item.IsClass && item != typeof(string) && Declared(item).Count > 0 ? item : null;
    }

    private static string DefaultOf(PropertyInfo key)
    {
        if (key.DeclaringType!.GetConstructor(Type.EmptyTypes) is null || key.DeclaringType.IsAbstract)
            return "";
        return key.GetValue(Activator.CreateInstance(key.DeclaringType)) switch
        {
            null => "Default none.",
            bool flag => flag ? "Default true." : "Default false.",
            Enum one => $"Default {Snake(one.ToString())}; one of "
                + $"{string.Join(", ", Enum.GetNames(one.GetType()).Select(Snake))}.",
            string { Length: > 0 } words => $"Default {words}.",
            IEnumerable list and not string when !list.GetEnumerator().MoveNext() => "Default empty.",
            IFormattable number => $"Default {number.ToString(null, CultureInfo.InvariantCulture)}.",
            _ => "",
        };
    }

    private static string TextOf(PropertyInfo key, string part)
    {
        // A key that overrides another's is documented there.
        for (var type = key.DeclaringType; type is not null; type = type.BaseType)
        {
            var known = Documented.GetValueOrDefault($"P:{type.FullName}.{key.Name}");
            if (known?.Element(part) is null && (string?)known?.Element("inheritdoc")?.Attribute("cref") is { } other)
                known = Documented.GetValueOrDefault(other);
            if (known?.Element(part) is { } found)
                return Words(found);
        }
        return "";
    }

    private static string Words(XElement element) => Spaces().Replace(string.Concat(element.Nodes().Select(node =>
        node switch
        {
            XText words => words.Value,
            XElement { Name.LocalName: "see" or "seealso" or "paramref" } link => Named(link),
            XElement { Name.LocalName: "c" } code => $"`{code.Value}`",
            XElement inner => Words(inner),
            _ => "",
        })), " ").Trim();

    // A property that is a key is named as the key.
    private static string Named(XElement link)
    {
        var target = ((string?)link.Attribute("cref") ?? (string?)link.Attribute("name") ?? "").Split('(')[0];
        var name = target[(target.LastIndexOf('.') + 1)..];
        return target.StartsWith("P:", Plain) ? $"`{Snake(name)}`" : name;
    }

    private static string Snake(string name) =>
        Upper().Replace(name, match => (match.Index > 0 ? "_" : "") + match.Value.ToLowerInvariant());

    private static Dictionary<string, XElement> AllDocumented() =>
        Directory.GetFiles(AppContext.BaseDirectory, "Peft.*.xml")
            .SelectMany(file => XDocument.Load(file).Descendants("member"))
            .Where(member => ((string)member.Attribute("name")!).StartsWith("P:Peft.", Plain))
            .ToDictionary(member => (string)member.Attribute("name")!, StringComparer.Ordinal);

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex("[A-Z]")]
    private static partial Regex Upper();
}

/// <summary>docs/keys.md is what the options say.</summary>
public sealed class KeysDocumentTests
{
    [Fact]
    public void The_document_of_keys_is_what_the_options_say()
    {
        var path = System.IO.Path.Combine(SharedAssets.Repository, KeysDocument.Path);
        if (Environment.GetEnvironmentVariable("WRITE") == "1")
            File.WriteAllText(path, KeysDocument.Text());
        Assert.True(
            File.Exists(path) && File.ReadAllText(path) == KeysDocument.Text(),
            $"{KeysDocument.Path} is not what the options say: make test TESTS=tests/Peft.Architecture.Tests WRITE=1");
    }

    [Fact]
    public void Every_key_says_what_it_is()
    {
        RepositoryFiles.AssertNone(
            KeysDocument.Text().Split('\n').Where(line => line.EndsWith("|  |", StringComparison.Ordinal)
                || line.Contains("|  |", StringComparison.Ordinal)),
            "every key has a summary, and a value where its default does not tell");
    }
}
