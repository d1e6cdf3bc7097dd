using System.Text.Json;

namespace Peft.Adapters.Tests;

/// <summary>One case of a golden file: inputs, parameters and expected numbers of PyTorch or NumPy.</summary>
public sealed class Golden
{
    private readonly JsonElement _case;

    private Golden(JsonElement golden) => _case = golden;

    public static string Folder { get; } =
        Environment.GetEnvironmentVariable("PEFT_GOLDEN") is { Length: > 0 } given
            ? given
            : Path.Combine(SharedAssets.Repository, "tests", "golden", "routers");

    public static Golden Case(string file, string name) =>
        Find(file, name) ?? throw new InvalidOperationException($"{file} in {Folder} has no case {name}");

    public static Golden? Find(string file, string name)
    {
        var path = Path.Combine(Folder, file);
        if (!File.Exists(path))
            return null;
        using var document = JsonDocument.Parse(File.ReadAllText(path));
        foreach (var golden in document.RootElement.GetProperty("cases").EnumerateArray())
        {
            if (golden.GetProperty("name").GetString() == name)
                return new Golden(golden.Clone());
        }
        return null;
    }

    public Tensor Input(string name) => ToTensor(Of("inputs", name));

    public IReadOnlyList<Tensor> Inputs(string name) =>
        [.. Of("inputs", name).EnumerateArray().Select(ToTensor)];

    public Func<string, Tensor> InputSection(string name)
    {
        var section = Of("inputs", name);
        return key => ToTensor(section.GetProperty(key));
    }

    public double InputNumber(string name) => Of("inputs", name).GetDouble();

    public double Parameter(string name) => Of("params", name).GetDouble();

    public double[] Parameters(string name) =>
        [.. Of("params", name).EnumerateArray().Select(number => number.GetDouble())];

    public Tensor Expected(string name) => ToTensor(Of("expected", name));

    /// <summary>Tensors of 1 and 0 from nested lists of true and false, one a part; parts may differ in
    /// shape.</summary>
    public IReadOnlyList<Tensor> ExpectedFlags(string name) =>
        [.. Of("expected", name).EnumerateArray().Select(ToTensor)];

    /// <summary>The experts that each token is expected to get are those that were selected, and no other.</summary>
    /// <remarks>Shapes: selected bool [N, E]; the case has [N, K] indices.</remarks>
    public void ChoosesAlone(string name, Tensor selected)
    {
        var expected = torch.zeros(selected.shape).scatter_(
            1, Expected(name).to(torch.int64), torch.ones(Expected(name).shape));
        Near(expected, selected.to(torch.float32));
    }

    public double ExpectedNumber(string name) => Of("expected", name).GetDouble();

    public IEnumerable<(string Name, double Value)> ExpectedNumbers(string name) =>
        Of("expected", name).EnumerateObject()
            .Select(number => (number.Name, number.Value.GetDouble()));

    public Func<string, Tensor> ExpectedSection(string name)
    {
        var section = Of("expected", name);
        return key => ToTensor(section.GetProperty(key));
    }

    public static void Near(Tensor expected, Tensor actual, double tolerance = 1e-5)
    {
        Assert.Equal(expected.shape, actual.shape);
        var wanted = expected.to(ScalarType.Float32).contiguous().data<float>().ToArray();
        var found = actual.detach().to(ScalarType.Float32).contiguous().data<float>().ToArray();
        var worst = Enumerable.Range(0, wanted.Length).MaxBy(i => Math.Abs(wanted[i] - found[i]));
        Assert.True(
            Math.Abs(wanted[worst] - found[worst]) <= tolerance,
            $"element {worst} of [{string.Join(", ", expected.shape)}]: expected {wanted[worst]}, found "
            + $"{found[worst]}");
    }

    private JsonElement Of(string part, string name) => _case.GetProperty(part).GetProperty(name);

    private static Tensor ToTensor(JsonElement element)
    {
        var shape = new List<long>();
        for (var level = element; level.ValueKind == JsonValueKind.Array; level = level[0])
            shape.Add(level.GetArrayLength());
        var values = new List<float>();
        Collect(element, values);
        return torch.tensor(values.ToArray(), [.. shape]);
    }

    private static void Collect(JsonElement element, List<float> values)
    {
        if (element.ValueKind != JsonValueKind.Array)
        {
            values.Add(element.ValueKind switch
            {
                JsonValueKind.True => 1,
                JsonValueKind.False => 0,
                _ => (float)element.GetDouble(),
            });
            return;
        }
        foreach (var item in element.EnumerateArray())
            Collect(item, values);
    }
}
