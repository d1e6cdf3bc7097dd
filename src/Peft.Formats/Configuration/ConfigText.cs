using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Peft.Formats.Configuration;

/// <summary>Writes a configuration tree as text: the same tree gives the same bytes.</summary>
public static partial class ConfigText
{
    /// <summary>JSON with an indent of two and a line end at the end; keys in the order of the map.</summary>
    public static string ToJson(ConfigMap map)
    {
        var text = new StringBuilder();
        WriteJson(text, map, 0);
        return text.Append('\n').ToString();
    }

    /// <summary>YAML in block style with an indent of two; keys in the order of the map.</summary>
    public static string ToYaml(ConfigMap map)
    {
        if (map.Count == 0)
            return "{}\n";
        var text = new StringBuilder();
        WriteYamlMap(text, map, 0, continues: false);
        return text.ToString();
    }

    private static void WriteJson(StringBuilder text, ConfigNode node, int indent)
    {
        switch (node)
        {
            case ConfigMap { Count: > 0 } map:
                WriteJsonItems(text, '{', map.Entries, indent, '}', entry =>
                {
                    text.Append(JsonText(entry.Key)).Append(": ");
                    WriteJson(text, entry.Value, indent + 2);
                });
                break;
            case ConfigList { Items.Count: > 0 } list:
                WriteJsonItems(text, '[', list.Items, indent, ']', item => WriteJson(text, item, indent + 2));
                break;
            case ConfigMap:
                text.Append("{}");
                break;
            case ConfigList:
                text.Append("[]");
                break;
            case ConfigScalar scalar:
                text.Append(JsonScalar(scalar));
                break;
        }
    }

    private static void WriteJsonItems<T>(
        StringBuilder text, char open, IReadOnlyList<T> items, int indent, char close, Action<T> write)
    {
        text.Append(open);
        for (var i = 0; i < items.Count; i++)
        {
            text.Append(i == 0 ? "\n" : ",\n").Append(' ', indent + 2);
            write(items[i]);
        }

        text.Append('\n').Append(' ', indent).Append(close);
    }

    private static string JsonScalar(ConfigScalar scalar)
    {
        if (scalar.Text is null)
            return "null";
        if (scalar.TryBoolean(out var truth))
            return truth ? "true" : "false";
        // As it was written, where JSON writes numbers so: 1.10 does not become 1.1.
        if (!scalar.IsQuoted && JsonNumber().IsMatch(scalar.Text) && scalar.TryNumber(out _))
            return scalar.Text;
        if (scalar.TryInteger(out var whole))
            return whole.ToString(CultureInfo.InvariantCulture);
        return scalar.TryNumber(out var number) ? ConfigScalar.Of(number).Text! : JsonText(scalar.Text);
    }

    [GeneratedRegex(@"\A-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\z")]
    private static partial Regex JsonNumber();

    // For files, not for web pages: letters and <, >, & stay readable.
    private static string JsonText(string value) =>
        $"\"{JsonEncodedText.Encode(value, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";

    // continues: the first key is written on the line already begun (after "- ").
    private static void WriteYamlMap(StringBuilder text, ConfigMap map, int indent, bool continues)
    {
        foreach (var (key, value) in map.Entries)
        {
            text.Append(' ', continues ? 0 : indent).Append(YamlText(key, isQuoted: true)).Append(':');
            continues = false;
            WriteYamlValue(text, value, indent + 2);
        }
    }

    private static void WriteYamlValue(StringBuilder text, ConfigNode node, int indent)
    {
        switch (node)
        {
            case ConfigMap { Count: > 0 } map:
                text.Append('\n');
                WriteYamlMap(text, map, indent, continues: false);
                break;
            case ConfigList { Items.Count: > 0 } list when list.Items.All(item => item is ConfigScalar):
                text.Append(" [").AppendJoin(", ", list.Items.Select(YamlInline)).Append("]\n");
                break;
            case ConfigList { Items.Count: > 0 } list:
                text.Append('\n');
                WriteYamlList(text, list, indent);
                break;
            default:
                text.Append(' ').Append(YamlInline(node)).Append('\n');
                break;
        }
    }

    private static void WriteYamlList(StringBuilder text, ConfigList list, int indent)
    {
        foreach (var item in list.Items)
        {
            text.Append(' ', indent).Append('-');
            if (item is ConfigMap { Count: > 0 } map)
                WriteYamlMap(text.Append(' '), map, indent + 2, continues: true);
            else
                WriteYamlValue(text, item, indent + 2);
        }
    }

    private static string YamlInline(ConfigNode node) => node switch
    {
        ConfigMap => "{}",
        ConfigList => "[]",
        ConfigScalar { Text: { } value } scalar => YamlText(value, scalar.IsQuoted),
        _ => "null",
    };

    // Text is written plain only where no reader of YAML 1.1 or 1.2 can take it for anything else.
    private static string YamlText(string value, bool isQuoted)
    {
        var scalar = new ConfigScalar("", 0, value);
        var isTyped = scalar.TryNumber(out _) || scalar.TryBoolean(out _);
        if (isTyped && !isQuoted || !isTyped && IsPlain(value))
            return value;
        var text = new StringBuilder("\"");
        foreach (var c in value)
        {
            if (c is '"' or '\\')
                text.Append('\\').Append(c);
            else if (c == '\n')
                text.Append("\\n");
            else if (c == '\t')
                text.Append("\\t");
            else if (char.IsControl(c) || c is '\u2028' or '\u2029' or '\uFEFF' or >= '\uFFFE')
                text.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
            else
                text.Append(c);
        }

        return text.Append('"').ToString();
    }

    private static bool IsPlain(string value)
    {
        if (value.Length == 0 || !(char.IsAsciiLetter(value[0]) || value[0] is '_' or '/'))
            return false;
        if (!value.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '.' or '/' or '+'))
            return false;
        return value.ToLowerInvariant() is not (
            "null" or "true" or "false" or "yes" or "no" or "on" or "off" or "y" or "n");
    }
}
