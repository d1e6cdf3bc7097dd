using System.Reflection;
using System.Text.Json.Nodes;

namespace Peft.Formats.Configuration;

/// <summary>
/// Makes a property a key of a configuration section. The property is the whole declaration: its name in snake_case is the
/// key, its first value the default, its type says how the key is read; <see cref="Keys"/> does the rest.
/// </summary>
/// <remarks>
/// Types: bool, int, long, double, string, lists of int and of string, the same with <c>?</c>, another record with keys
/// (a section), and any type that implements <see cref="IKeyValue{TSelf}"/>.
/// </remarks>
[AttributeUsage(AttributeTargets.Property)]
public sealed class KeyAttribute : Attribute
{
    /// <summary>The key, where it is not the property's name in snake_case.</summary>
    public string? Name { get; init; }

    /// <summary>The least number allowed.</summary>
    public double Min { get; init; } = double.NegativeInfinity;

    /// <summary>The greatest number allowed.</summary>
    public double Max { get; init; } = double.PositiveInfinity;

    /// <summary>The texts allowed; empty for any.</summary>
    public string[] Choices { get; init; } = [];

    /// <summary>Whether the key must be there (texts only).</summary>
    public bool Required { get; init; }
}

/// <summary>A value with a form of its own under a key.</summary>
/// <typeparam name="TSelf">The type itself.</typeparam>
public interface IKeyValue<TSelf>
    where TSelf : IKeyValue<TSelf>
{
    /// <summary>Reads the key; the fallback when absent or wrong, which is noted in the reader's faults.</summary>
    static abstract TSelf Read(OptionReader reader, string key, TSelf fallback);

    /// <summary>What <see cref="Read"/> reads back as an equal value; null for nothing.</summary>
    JsonNode? ToJson();
}

/// <summary>Reads and writes the properties of a record that have a <see cref="KeyAttribute"/>.</summary>
public static class Keys
{
    /// <summary>The keys of a record, in the order they are declared; a derived record's before its base's.</summary>
    public static IReadOnlyList<string> Of(Type type) => [.. Declared(type).Select(key => key.Name)];

    /// <summary>A copy of the defaults with every key that the section has; faults are gathered in the reader.</summary>
    /// <param name="reader">The section.</param>
    /// <param name="defaults">The value of each key that the section lacks.</param>
    /// <param name="without">Keys that this section does not have: they keep their default and are unknown there.</param>
    public static T Bind<T>(this OptionReader reader, T defaults, params IReadOnlyList<string> without)
        where T : class
    {
        var result = Copy(defaults);
        foreach (var (name, property, key) in Declared(result.GetType()).Where(declared => !without.Contains(declared.Name)))
            property.SetValue(result, Read(reader, name, property, key, property.GetValue(result)));
        return result;
    }

    /// <summary>Every key with its value; <see cref="Bind"/> of it gives an equal record.</summary>
    public static JsonObject ToJson(object options)
    {
        var json = new JsonObject();
        foreach (var (name, property, _) in Declared(options.GetType()))
            json[name] = Written(property.GetValue(options));
        return json;
    }

    private static T Copy<T>(T value)
        where T : class
    {
        var clone = typeof(object).GetMethod("MemberwiseClone", BindingFlags.Instance | BindingFlags.NonPublic)!;
        return (T)clone.Invoke(value, null)!;
    }

    private static IEnumerable<(string Name, PropertyInfo Property, KeyAttribute Key)> Declared(Type type) =>
        from property in type.GetProperties(BindingFlags.Instance | BindingFlags.Public)
        let key = property.GetCustomAttribute<KeyAttribute>()
        where key is not null
        select (key.Name ?? SnakeCase(property.Name), property, key);

    private static object? Read(OptionReader reader, string name, PropertyInfo property, KeyAttribute key, object? fallback)
    {
        var (least, most) = (Whole(key.Min, long.MinValue), Whole(key.Max, long.MaxValue));
        int ToInt(long limit) => (int)Math.Clamp(limit, int.MinValue, int.MaxValue);
        var type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        return (type, fallback) switch
        {
            _ when type == typeof(bool) => reader.Boolean(name, (bool)fallback!),
            (_, null) when type == typeof(int) => reader.OptionalInteger(name, ToInt(least), ToInt(most)),
            (_, null) when type == typeof(double) => reader.OptionalNumber(name, key.Min, key.Max),
            _ when type == typeof(int) => reader.Integer(name, (int)fallback!, ToInt(least), ToInt(most)),
            _ when type == typeof(long) => reader.Long(name, (long)fallback!, least, most),
            _ when type == typeof(double) => reader.Number(name, (double)fallback!, key.Min, key.Max),
            _ when type == typeof(string) => ReadText(reader, name, key, (string?)fallback),
            (_, IReadOnlyList<string> texts) => reader.Texts(name, texts),
            (_, IReadOnlyList<int> numbers) => reader.Integers(name, numbers, ToInt(least), ToInt(most)),
            (_, not null) when Self(type) is { } own => own.GetMethod("Read")!.Invoke(null, [reader, name, fallback]),
            (_, not null) => reader.Section(name).Bind(fallback),
            _ => throw new InvalidOperationException($"{property.DeclaringType}.{property.Name}: a key needs a first value"),
        };
    }

    private static string? ReadText(OptionReader reader, string name, KeyAttribute key, string? fallback) =>
        key.Choices.Length > 0 ? reader.Choice(name, fallback!, key.Choices)
        : key.Required ? reader.RequiredText(name)
        : fallback is null ? reader.OptionalText(name)
        : reader.Text(name, fallback);

    private static JsonNode? Written(object? value) => value switch
    {
        null => null,
        bool known => known,
        int known => known,
        long known => known,
        double known => known,
        string known => known,
        IEnumerable<string> texts => new JsonArray([.. texts.Select(text => (JsonNode)text)]),
        IEnumerable<int> numbers => new JsonArray([.. numbers.Select(number => (JsonNode)number)]),
        _ when Self(value.GetType()) is { } own => (JsonNode?)own.GetMethod("ToJson")!.Invoke(value, null),
        _ => ToJson(value),
    };

    // The type when it implements IKeyValue of itself.
    private static Type? Self(Type type) => Array.Exists(
        type.GetInterfaces(), i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IKeyValue<>)) ? type : null;

    private static long Whole(double limit, long open) => double.IsFinite(limit) ? (long)limit : open;

    private static string SnakeCase(string name) => string.Concat(name.Select((letter, i) =>
        char.IsUpper(letter) ? (i == 0 ? "" : "_") + char.ToLowerInvariant(letter) : letter.ToString()));
}
