using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Recipes;
using Peft.Torch;

namespace Peft.Cli.Verbs;

/// <summary>Says what is installed, what is missing and how to get it.</summary>
[Verb("doctor", HelpText = "What is installed: libtorch, threads, instruction sets, devices; what is missing and how to get it.")]
public sealed class DoctorVerb : IVerb
{
    /// <inheritdoc/>
    public int Run(Output output)
    {
        var healthy = true;
        Line("peft", Program.Version);
        Line("runtime", $".NET {Environment.Version} on {System.Runtime.InteropServices.RuntimeInformation.OSDescription}");
        Check("libtorch", () =>
        {
            torch.Initialize();
            Line("libtorch", torch.version);
            Line("BLAS", torch.BlasFolder ?? "the system's default (install libopenblas0-openmp: another build can be 2 to 3 times slower)");
            Line("threads", $"{torch.get_num_threads()} of {Environment.ProcessorCount} cores");
            Line("devices", torch.cuda.is_available() ? $"cpu, {torch.cuda.device_count()} CUDA" : "cpu");
        });
        Line("instruction sets", string.Join(", ", MachineTypes.InstructionSets));
        Line("fast types", MachineTypes.IsFast(ScalarType.BFloat16, torch.CPU)
            ? "float32, bfloat16"
            : "float32 (this processor has no bfloat16 instructions: dtype auto computes in float32)");
        return healthy ? ExitCode.Done : ExitCode.UserMistake;

        void Line(string what, string found) => output.Result($"{what,-18}{found}");

        void Check(string what, Action look)
        {
            try
            {
                look();
            }
            catch (Exception e) when (e is UserException or NativeLibraryException)
            {
                healthy = false;
                Line(what, "MISSING - " + e.Message);
            }
        }
    }
}
