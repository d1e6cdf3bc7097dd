using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Benchmarks;

/// <summary>Prints each number as it comes and keeps all for the JSON file.</summary>
internal sealed class Report(Machine machine, BenchmarkOptions options)
{
    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private readonly List<Measurement> _measurements = [];

    public Machine Machine => machine;

    /// <summary>Adds and prints a number.</summary>
    public void Add(Measurement measurement)
    {
        _measurements.Add(measurement);
        var spread = $"({Short(measurement.Low)} - {Short(measurement.High)})";
        Console.WriteLine(
            $"{measurement.Name,-58}{Short(measurement.Value),9} {measurement.Unit,-9}{spread,-22}{measurement.Limit}");
    }

    /// <summary>Writes everything as JSON.</summary>
    public void Save(string file) => AtomicFile.WriteText(file, JsonSerializer.Serialize(
        new { machine, options.Shape, Dtype = options.Dtype.ToString(), options.Rounds, Measurements = _measurements },
        Json) + "\n");

    private static string Short(double value) => value.ToString(
        Math.Abs(value) switch { >= 1000 => "F0", >= 100 => "F1", >= 10 => "F2", _ => "F3" },
        CultureInfo.InvariantCulture);
}
