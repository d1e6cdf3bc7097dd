using Peft.Evaluation.Metrics;

namespace Peft.Evaluation.Tests;

/// <summary>A folder of its own for one test.</summary>
public sealed class TempFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("peft-evaluation-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
