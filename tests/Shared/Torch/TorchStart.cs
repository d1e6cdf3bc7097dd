using System.Runtime.CompilerServices;

namespace Peft.Tests;

/// <summary>Starts libtorch before a test of this assembly can use a tensor, as a program does at its start.</summary>
internal static class TorchStart
{
    [ModuleInitializer]
    internal static void Start() => TorchRuntime.Start();
}
