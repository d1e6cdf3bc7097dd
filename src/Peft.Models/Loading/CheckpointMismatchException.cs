using Peft.Formats;

namespace Peft.Models.Loading;

/// <summary>A checkpoint's tensors are not those its config.json describes.</summary>
public sealed class CheckpointMismatchException : UserException
{
    private const int MostShown = 20;

    /// <summary>Makes the exception from every fault found.</summary>
    public CheckpointMismatchException(string directory, IReadOnlyList<Fault> faults)
        : base(Describe(directory, faults)) => Faults = faults;

    /// <summary>One fault for each tensor: file and name, what was found, what was expected.</summary>
    public IReadOnlyList<Fault> Faults { get; }

    private static string Describe(string directory, IReadOnlyList<Fault> faults)
    {
        var lines = faults.Take(MostShown).Select(fault => $"\n  {fault}");
        var more = faults.Count > MostShown ? $"\n  and {faults.Count - MostShown} more" : string.Empty;
        return $"{directory}: the tensors do not fit config.json, {faults.Count} fault{(faults.Count == 1 ? string.Empty : "s")}:" +
            string.Concat(lines) + more;
    }
}
