using System.Globalization;
using Peft.Formats;

namespace Peft.Benchmarks;

/// <summary>What the command line asks for.</summary>
internal sealed record BenchmarkOptions
{
    private static string Shapes => string.Join('|', ModelShape.All.Select(s => s.Name));

    private static string Names => string.Join(", ", Program.Measurements.Select(m => m.Name));

    public static string Help { get; } = $"""
        usage: make bench ARGS='[--shape {Shapes}] [--only NAME]... [--rounds N] [--threads N]
                                [--dtype float32|bfloat16] [--rows N] [--json FILE]'
        NAME is one of {Names}.
        The default shape takes less than ten minutes.
        --rows is the largest data set of `data`, 1000000 by default; 10000000 takes some minutes more.
        """;

    public ModelShape Shape { get; private init; } = ModelShape.All[0];

    public IReadOnlyList<string> Only { get; private init; } = [];

    public int Rounds { get; private init; } = 7;

    public int? Threads { get; private init; }

    public ScalarType Dtype { get; private init; } = ScalarType.Float32;

    /// <summary>Rows of the largest data set.</summary>
    public int Rows { get; private init; } = 1_000_000;

    public string? JsonFile { get; private init; }

    /// <summary>Whether a measurement was asked for; all are where none is named.</summary>
    public bool Wants(string name) => Only.Count == 0 || Only.Contains(name);

    /// <summary>Reads the words; null when help is asked for.</summary>
    public static BenchmarkOptions? Parse(IReadOnlyList<string> words)
    {
        var options = new BenchmarkOptions();
        for (var i = 0; i < words.Count; i++)
        {
            if (words[i] is "--help" or "-h")
                return null;
            var option = words[i];
            var value = i + 1 < words.Count ? words[++i]
                : throw new UserException($"{option}: a value is missing\n{Help}");
            options = option switch
            {
                "--shape" =>
                    options with
                    {
                        Shape = ModelShape.All.FirstOrDefault(s => s.Name == value)
                    ?? throw Wrong(option, value)
                    },
                "--only" => options with
                {
                    Only = Program.Measurements.Any(m => m.Name == value) ? [.. options.Only, value]
                        : throw Wrong(option, value),
                },
                "--rounds" => options with { Rounds = Number(option, value) },
                "--threads" => options with { Threads = Number(option, value) },
                "--dtype" => options with
                {
                    Dtype = value switch
                    {
                        "float32" => ScalarType.Float32,
                        "bfloat16" => ScalarType.BFloat16,
                        _ => throw Wrong(option, value),
                    },
                },
                "--rows" => options with { Rows = Number(option, value) },
                "--json" => options with { JsonFile = value },
                _ => throw new UserException($"{option}: no such option\n{Help}"),
            };
        }
        return options;
    }

    private static int Number(string option, string value) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0 ? number
        : throw Wrong(option, value);

    private static UserException Wrong(string option, string value) => new($"{option} {value}: not allowed\n{Help}");
}
