using System.Collections;
using System.Collections.Concurrent;
using System.Reflection;
using System.Text.Json.Nodes;

namespace Peft.Formats.Configuration;

/// <summary>
/// Makes a property a key of a configuration section. The property is the whole declaration: its name in snake_case is
/// the key, its first value the default, its type says how the key is read; <see cref="Keys"/> does the rest.
/// </summary>
/// <remarks>
/// Types: bool, int, long, double, string, enums, the same with <c>?</c>; lists (<see cref="IReadOnlyList{T}"/> or
/// <see cref="EquatableList{T}"/>) of int, double and string; another record with keys (a section; null stays null
/// while the section is absent) and lists of those, each begun from the record's own defaults; lists of
/// <see cref="KeyValuePair{TKey, TValue}"/> from a text to an int, double or string (a section whose keys are free, in
/// their order); and any type that implements <see cref="IKeyValue{TSelf}"/>.
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

    /// <summary>A number must be greater than this (double only).</summary>
    public double Above { get; init; } = double.NegativeInfinity;

    /// <summary>A number must be less than this (double only).</summary>
    public double Below { get; init; } = double.PositiveInfinity;

    /// <summary>
    /// The texts allowed; empty for any. For an enum, the text of each member in the order of their values, where those
    /// are not the members' names in snake_case.
    /// </summary>
    public string[] Choices { get; init; } = [];

    /// <summary>Whether the key must be there.</summary>
    public bool Required { get; init; }

    /// <summary>
    /// A key of the same section, declared before this one, and its values under which this key exists:
    /// <c>kind=localized</c>, <c>optim=sgd|lion</c>. Under others it is refused, since it would do nothing.
    /// </summary>
    public string? When { get; init; }

    /// <summary>Whether the resolved configuration leaves the key out where it was not written.</summary>
    public bool Silent { get; init; }

    internal NumberRange Range => new(Min, Max, Above, Below);
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
    private static readonly ConcurrentDictionary<Type, IReadOnlyList<Declaration>> Known = new();

    private static readonly MethodInfo Clone =
        typeof(object).GetMethod("MemberwiseClone", BindingFlags.Instance | BindingFlags.NonPublic)!;

    /// <summary>The keys of a record, in the order they are declared; a derived record's before its base's.</summary>
    public static IReadOnlyList<string> Of(Type type) => [.. Declared(type).Select(key => key.Name)];

    /// <summary>The key of a property.</summary>
    public static string NameOf(PropertyInfo property) =>
        property.GetCustomAttribute<KeyAttribute>()?.Name ?? SnakeCase(property.Name);

    /// <summary>A copy of the defaults with every key that the section has; faults are gathered in the
    /// reader.</summary>
    /// <param name="reader">The section.</param>
    /// <param name="defaults">The value of each key that the section lacks.</param>
    /// <param name="without">Keys that this section does not have: they keep their default and are not
    /// read.</param>
    public static T Bind<T>(this OptionReader reader, T defaults, params IReadOnlyList<string> without)
        where T : class
    {
        var result = (T)Clone.Invoke(defaults, null)!;
        foreach (var key in Declared(result.GetType()).Where(key => !without.Contains(key.Name)))
        {
            if (!IsOff(key, result))
                key.Property.SetValue(result, Read(reader, key, key.Property.GetValue(result)));
            else if (reader.Has(key.Name))
                reader.Fault(
                    key.Name, $"no effect with {StateOf(key, result)}", null, $"remove it, or write {Needed(key)}");
        }

        return result;
    }

    /// <summary>Every key with its value; <see cref="Bind"/> of it gives an equal record.</summary>
    public static JsonObject ToJson(object options)
    {
        var json = new JsonObject();
        foreach (var key in Declared(options.GetType()).Where(key => !IsOff(key, options)))
            json[key.Name] = Written(key, key.Property.GetValue(options));
        return json;
    }

    private static IReadOnlyList<Declaration> Declared(Type type) => Known.GetOrAdd(type, declaring =>
        [.. from property in declaring.GetProperties(BindingFlags.Instance | BindingFlags.Public)
            let key = property.GetCustomAttribute<KeyAttribute>()
            where key is not null
            select new Declaration(NameOf(property), property, key)]);

    // Whether the key that this one depends on has another value.
    private static bool IsOff(Declaration key, object options) =>
        key.Condition is var (_, values) && !values.Contains(Text(Other(key, options), options));

    private static string StateOf(Declaration key, object options) =>
        $"{Other(key, options).Name}: {Text(Other(key, options), options)}";

    private static string Needed(Declaration key) =>
        $"{key.Condition!.Value.Key}: {Words.OneOf(key.Condition.Value.Values)}";

    private static Declaration Other(Declaration key, object options) =>
        Declared(options.GetType()).First(other => other.Name == key.Condition!.Value.Key);

    private static string Text(Declaration key, object options) =>
        Written(key, key.Property.GetValue(options))?.ToString() ?? "";

    private static object? Read(OptionReader reader, Declaration key, object? fallback)
    {
        var (name, type, range) = (key.Name, key.Type, key.Key.Range);
        if (key.Key.Required && !reader.Has(name))
            reader.Fault(name, "missing", key.Key.Choices.Length > 0 ? Words.OneOf(key.Key.Choices) : Noun(key));
        if (key.Key.Silent && !reader.Has(name))
            return fallback;
        if (type == typeof(bool))
            return fallback is bool known ? reader.Boolean(name, known) : reader.OptionalBoolean(name);
        if (type == typeof(int))
        {
            var (min, max) = range.AsInt;
            return fallback is int known
                ? reader.Integer(name, known, min, max)
                : reader.OptionalInteger(name, min, max);
        }

        if (type == typeof(long))
        {
            var (min, max) = range.AsLong;
            return fallback is long known ? reader.Long(name, known, min, max) : reader.OptionalLong(name, min, max);
        }

        if (type == typeof(double))
            return fallback is double known ? reader.Number(name, known, range) : reader.OptionalNumber(name, range);
        if (type == typeof(string))
            return ReadText(reader, key, (string?)fallback);
        return type.IsEnum ? ReadEnum(reader, key, fallback) : ReadComposite(reader, key, fallback);
    }

    private static object? ReadComposite(OptionReader reader, Declaration key, object? fallback)
    {
        var (name, type) = (key.Name, key.Type);
        if (key.ReadOwn is { } own)
            return own.Invoke(null, BindingFlags.DoNotWrapExceptions, null, [reader, name, fallback], null);
        if (key.ItemType is not { } item)
        {
            return fallback is not null || reader.Has(name)
                ? reader.Section(name).Bind(fallback ?? New(type))
                : Absent(reader, key, null);
        }

        var items = (IEnumerable)(fallback ?? Array.CreateInstance(item, 0));
        if (item == typeof(int))
            return key.AsList(
                reader.Integers(name, [.. items.Cast<int>()], key.Key.Range.AsInt.Min, key.Key.Range.AsInt.Max));
        if (item == typeof(double))
            return key.AsList(reader.Numbers(name, [.. items.Cast<double>()], key.Key.Range));
        if (item == typeof(string))
            return key.AsList(reader.Texts(name, [.. items.Cast<string>()]));
        if (item.IsGenericType && item.GetGenericTypeDefinition() == typeof(KeyValuePair<,>))
            return reader.Has(name) ? ReadPairs(reader.Section(name), key, item) : Absent(reader, key, fallback);
        return reader.Has(name)
            ? key.AsList(reader.Sections(name).Select(section => section.Bind(New(item))))
            : Absent(reader, key, fallback);
    }

    // The resolved configuration has every key, what was not written as its default.
    private static object? Absent(OptionReader reader, Declaration key, object? fallback)
    {
        var json = new JsonObject { [key.Name] = Written(key, fallback) };
        reader.RecordDefault(key.Name, ConfigJson.Parse(json.ToJsonString(), "")[key.Name]!);
        return fallback;
    }

    // A section whose keys are free: each is read as the pair's second type.
    private static object ReadPairs(OptionReader section, Declaration key, Type pair)
    {
        var (min, max) = key.Key.Range.AsInt;
        return key.AsList(section.AllKeys().Select(name =>
        {
            object value = pair.GenericTypeArguments[1] switch
            {
                var type when type == typeof(int) => section.Integer(name, Math.Max(min, 0), min, max),
                var type when type == typeof(double) => section.Number(name, Math.Max(key.Key.Min, 0), key.Key.Range),
                _ => section.Text(name, ""),
            };
            return Activator.CreateInstance(pair, name, value)!;
        }));
    }

    private static string? ReadText(OptionReader reader, Declaration key, string? fallback) =>
        key.Key.Choices.Length > 0 ? reader.Choice(key.Name, fallback!, key.Key.Choices)
        : fallback is null && key.Key.Required ? reader.Text(key.Name, "")
        : fallback is null ? reader.OptionalText(key.Name)
        : reader.Text(key.Name, fallback);

    private static object? ReadEnum(OptionReader reader, Declaration key, object? fallback)
    {
        var text = reader.Choice(key.Name, fallback is null ? null! : key.Texts[fallback], [.. key.Texts.Values]);
        return text is null ? null : key.Texts.First(entry => entry.Value == text).Key;
    }

    private static JsonNode? Written(Declaration key, object? value) => value switch
    {
        null => null,
        Enum known => key.Texts[known],
        _ when key.ReadOwn is not null => (JsonNode?)value.GetType().GetMethod("ToJson")!.Invoke(value, null),
        _ when key.ItemType is { IsGenericType: true } pair => Pairs(pair, (IEnumerable)value),
        _ when key.ItemType is not null => new JsonArray([.. ((IEnumerable)value).Cast<object>().Select(Plain)]),
        _ => Plain(value),
    };

    private static JsonObject Pairs(Type type, IEnumerable pairs)
    {
        var (name, value) = (type.GetProperty("Key")!, type.GetProperty("Value")!);
        var json = new JsonObject();
        foreach (var pair in pairs)
            json[(string)name.GetValue(pair)!] = Plain(value.GetValue(pair)!);
        return json;
    }

    private static JsonNode Plain(object value) => value switch
    {
        bool known => known,
        int known => known,
        long known => known,
        double known => known,
        string known => known,
        _ => ToJson(value),
    };

    private static object New(Type type) => type.GetConstructor(Type.EmptyTypes)?.Invoke(null)
        ?? throw new InvalidOperationException($"{type}: a section needs a constructor without parameters");

    private static string Noun(Declaration key) =>
        key.Type == typeof(int) || key.Type == typeof(long) ? "a whole number"
        : key.Type == typeof(double) ? "a number"
        : key.Type == typeof(bool) ? "true or false"
        : key.Type == typeof(string) ? "a text"
        : key.Type.IsEnum ? Words.OneOf([.. key.Texts.Values])
        : key.ItemType is { IsGenericType: false } ? "a list" : "a section";

    private static string SnakeCase(string name) => string.Concat(name.Select((letter, i) =>
        char.IsUpper(letter) ? (i == 0 ? "" : "_") + char.ToLowerInvariant(letter) : letter.ToString()));

    // A property with its key, and what reflection finds about its type.
    private sealed class Declaration
    {
        private readonly MethodInfo? _toList;

        public Declaration(string name, PropertyInfo property, KeyAttribute key)
        {
            (Name, Property, Key) = (name, property, key);
            Type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
            var isOwn = Array.Exists(
                Type.GetInterfaces(), i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IKeyValue<>));
            ReadOwn = isOwn ? Type.GetMethod("Read", [typeof(OptionReader), typeof(string), Type]) : null;
            if (!isOwn && Type.IsGenericType && Type.GetGenericTypeDefinition() is var open
                && (open == typeof(IReadOnlyList<>) || open == typeof(EquatableList<>)))
            {
                ItemType = Type.GenericTypeArguments[0];
                var method = open == typeof(EquatableList<>) ? nameof(ToEquatableList) : nameof(ToArray);
                _toList = typeof(Declaration).GetMethod(method, BindingFlags.NonPublic | BindingFlags.Static)!
                    .MakeGenericMethod(ItemType);
            }

            var members = Type.IsEnum ? Enum.GetValues(Type).Cast<object>().ToList() : [];
            Texts = members.Index().ToDictionary(
                member => member.Item,
                member => key.Choices.Length > 0 ? key.Choices[member.Index] : SnakeCase(member.Item.ToString()!));
        }

        public string Name { get; }

        /// <summary>The key that this one depends on, and its values under which this one exists.</summary>
        public (string Key, string[] Values)? Condition =>
            Key.When?.Split('=') is [var other, var values] ? (other, values.Split('|')) : null;

        public PropertyInfo Property { get; }

        public KeyAttribute Key { get; }

        /// <summary>The type without its question mark.</summary>
        public Type Type { get; }

        /// <summary>How a type with a form of its own is read; null for all others.</summary>
        public MethodInfo? ReadOwn { get; }

        /// <summary>The type of a list's items; null where it is no list.</summary>
        public Type? ItemType { get; }

        /// <summary>The members of an enum and their texts.</summary>
        public Dictionary<object, string> Texts { get; }

        /// <summary>The items as the property's type of list.</summary>
        public object AsList(IEnumerable items) => _toList!.Invoke(null, [items])!;

        private static IReadOnlyList<T> ToArray<T>(IEnumerable items) => [.. items.Cast<T>()];

        private static EquatableList<T> ToEquatableList<T>(IEnumerable items) => [.. items.Cast<T>()];
    }
}

/// <summary>A key that was given another value than its first one and that does nothing beside others.</summary>
/// <param name="Key">The key, dotted from its section on.</param>
/// <param name="Beside">What makes it do nothing.</param>
public sealed record IneffectiveKey(string Key, string Beside)
{
    /// <summary>The key where it does nothing and has another value than the first; none otherwise.</summary>
    public static IEnumerable<IneffectiveKey> If<T>(bool doesNothing, string key, T value, T first, string beside) =>
        doesNothing && !EqualityComparer<T>.Default.Equals(value, first) ? [new IneffectiveKey(key, beside)] : [];
}
