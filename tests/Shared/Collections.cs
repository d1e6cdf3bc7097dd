using System.Runtime.CompilerServices;

namespace Peft.Tests;

/// <summary>Collections of .NET while tests compute.</summary>
/// <remarks>
/// TorchSharp gives native code the address of a Scalar and holds on to the Scalar no longer: where another thread lets
/// memory be collected in the middle of the call, the finalizer frees the number that is about to be read ("Expected
/// false to be true", or another number). The program computes in one thread beside which none allocates; a test host
/// computes in several. So test.runsettings lets a host fill 256 MiB before it collects.
/// </remarks>
internal static class Collections
{
    public const string Variable = "DOTNET_GCgen0size";

    /// <summary>What the variable was when this host started.</summary>
    public static string? AtStart { get; private set; }

    // The programs that tests start collect as they do for users.
    [ModuleInitializer]
    internal static void HandNothingDown()
    {
        AtStart = Environment.GetEnvironmentVariable(Variable);
        Environment.SetEnvironmentVariable(Variable, null);
    }
}
