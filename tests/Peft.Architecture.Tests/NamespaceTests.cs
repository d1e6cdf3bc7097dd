using System.Reflection;
using System.Reflection.Emit;

namespace Peft.Architecture.Tests;

/// <summary>Inside a room, too, namespaces use each other in one direction only; read from the compiled code.</summary>
public sealed class NamespaceTests
{
    private static readonly Dictionary<short, OpCode> OpCodes = typeof(OpCodes)
        .GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(field => (OpCode)field.GetValue(null)!)
        .ToDictionary(code => code.Value);

    public static TheoryData<string> Rooms => ReferenceDirectionTests.Rooms;

    [Theory]
    [MemberData(nameof(Rooms))]
    public void No_namespaces_use_each_other_in_a_circle(string room)
    {
        var assembly = Assembly.Load(room == "Cli" ? "peft" : $"Peft.{room}");
        var uses = UsesOf(assembly);
        var circles =
            from pair in uses.Keys.Order(StringComparer.Ordinal).SelectMany(a => uses[a].Keys.Select(b => (a, b)))
            where string.CompareOrdinal(pair.a, pair.b) < 0 && Reaches(uses, pair.b, pair.a)
            select $"{pair.a} -> {pair.b} ({uses[pair.a][pair.b]}) and back ({WayBack(uses, pair.b, pair.a)})";
        RepositoryFiles.AssertNone(circles, $"namespaces of Peft.{room} in circles:");
    }

    [Fact]
    public void A_circle_would_be_found()
    {
        var uses = UsesOf(typeof(NamespaceTests).Assembly);
        Assert.Contains("Peft.Architecture.Tests.CircleB", uses["Peft.Architecture.Tests.CircleA"].Keys);
        Assert.Contains("Peft.Architecture.Tests.CircleA", uses["Peft.Architecture.Tests.CircleB"].Keys);
        Assert.True(Reaches(uses, "Peft.Architecture.Tests.CircleB", "Peft.Architecture.Tests.CircleA"));
    }

    // namespace -> namespace it uses -> an example: type by type
    private static Dictionary<string, Dictionary<string, string>> UsesOf(Assembly assembly)
    {
        var uses = new Dictionary<string, Dictionary<string, string>>(StringComparer.Ordinal);
        foreach (
            var type in assembly.GetTypes().Where(
            type => type.Namespace?.StartsWith("Peft", StringComparison.Ordinal) == true))
        {
            foreach (
                var used in UsedBy(type).Select(Element).Where(used => used.Assembly == assembly && used.Namespace
                is not null))
            {
                if (used.Namespace == type.Namespace || used.Namespace!.StartsWith("Peft", StringComparison.Ordinal)
                    is false)
                    continue;
                if (!uses.TryGetValue(type.Namespace!, out var targets))
                    uses.Add(type.Namespace!, targets = new(StringComparer.Ordinal));
                targets.TryAdd(used.Namespace, $"{Outer(type).Name} uses {Outer(used).Name}");
            }
        }

        return uses;
    }

    private static IEnumerable<Type> UsedBy(Type type)
    {
        const BindingFlags All =
            BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance
            | BindingFlags.DeclaredOnly;
        var used = new List<Type?> { type.BaseType };
        used.AddRange(type.GetInterfaces());
        used.AddRange(type.GetFields(All).Select(field => field.FieldType));
        foreach (var method in type.GetMethods(All).Cast<MethodBase>().Concat(type.GetConstructors(All)))
        {
            used.AddRange(method.GetParameters().Select(parameter => parameter.ParameterType));
            used.Add((method as MethodInfo)?.ReturnType);
            used.AddRange(UsedInBody(type, method));
        }

        return used.OfType<Type>().SelectMany(Parts);
    }

    private static List<Type?> UsedInBody(Type type, MethodBase method)
    {
        if (method.GetMethodBody() is not { } body)
            return [];
        var used = body.LocalVariables.Select(local => (Type?)local.LocalType).ToList();
        var code = body.GetILAsByteArray()!;
        var typeArguments = type.IsGenericType ? type.GetGenericArguments() : null;
        var methodArguments = method.IsGenericMethod ? method.GetGenericArguments() : null;
        for (var at = 0; at < code.Length;)
        {
            var value = code[at] == 0xFE ? unchecked((short)(0xFE00 | code[at + 1])) : code[at];
            var operation = OpCodes[value];
            at += operation.Size;
            if (operation.OperandType
                is OperandType.InlineField or OperandType.InlineMethod
                or OperandType.InlineTok or OperandType.InlineType)
            {
                var member = method.Module.ResolveMember(BitConverter.ToInt32(code, at), typeArguments,
                    methodArguments);
                used.Add(member as Type ?? member!.DeclaringType);
                if (member is MethodInfo { IsGenericMethod: true } generic)
                    used.AddRange(generic.GetGenericArguments());
            }

            at += operation.OperandType switch
            {
                OperandType.InlineNone => 0,
                OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                OperandType.InlineVar => 2,
                OperandType.InlineI8 or OperandType.InlineR => 8,
                OperandType.InlineSwitch => 4 + (4 * BitConverter.ToInt32(code, at)),
                _ => 4,
            };
        }

        return used;
    }

    private static IEnumerable<Type> Parts(Type type) =>
        type.IsGenericType ? type.GetGenericArguments().SelectMany(Parts).Prepend(type) : [type];

    private static Type Element(Type type) => type.HasElementType ? Element(type.GetElementType()!) : type;

    private static Type Outer(Type type) => type.DeclaringType is { } outer ? Outer(outer) : type;

    private static bool Reaches(Dictionary<string, Dictionary<string, string>> uses, string from, string to) =>
        WayBack(uses, from, to) is not null;

    private static string? WayBack(Dictionary<string, Dictionary<string, string>> uses, string from, string to)
    {
        var ways = new Dictionary<string, string>(StringComparer.Ordinal) { [from] = "" };
        var waiting = new Queue<string>([from]);
        while (waiting.TryDequeue(out var next))
        {
            foreach (var (target, example) in uses.GetValueOrDefault(next) ?? [])
            {
                if (!ways.TryAdd(target, ways[next].Length == 0 ? example : $"{ways[next]}, {example}"))
                    continue;
                if (target == to)
                    return ways[target];
                waiting.Enqueue(target);
            }
        }

        return null;
    }
}
