using System.Diagnostics;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Peft.Torch.Interop;

namespace Peft.Torch.Tests.Interop;

public partial class ParityTests
{
    private static readonly string NativeFolder = Path.Combine(SharedAssets.Repository, "src", "Peft.Torch", "Native");

    [Fact]
    public void The_header_declares_exactly_what_is_imported() => Assert.Equal(HeaderNames(), ImportNames());

    [Fact]
    public void Every_import_resolves()
    {
        var library = NativeLibraryLocator.Load();
        var missing = ImportNames().Where(name => !NativeLibrary.TryGetExport(library, name, out _));
        Assert.Empty(missing);
    }

    [Fact]
    public void Every_import_returns_a_status_that_throws()
    {
        foreach (var import in Imports()) Assert.True(import.ReturnType == typeof(Status), import.Name);
    }

    [Fact]
    public void No_import_takes_a_raw_pointer_but_the_ones_that_free()
    {
        var raw = Imports().Where(i => i.GetParameters().Any(p => p.ParameterType == typeof(nint))).Select(i => i.Name);
        Assert.Equal(["pt_generator_free", "pt_list_free", "pt_tensor_free"], raw.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_expected_interface_version_is_the_headers()
    {
        var header = File.ReadAllText(Path.Combine(NativeFolder, "peft_torch.h"));
        Assert.Contains($"#define PT_ABI_VERSION {NativeLibraryLocator.ExpectedAbi}\n", header, StringComparison.Ordinal);
    }

    [Fact]
    public void The_header_is_plain_C11()
    {
        var start = new ProcessStartInfo("cc") { RedirectStandardError = true };
        foreach (var argument in new[] { "-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c" })
            start.ArgumentList.Add(argument);
        start.ArgumentList.Add(Path.Combine(NativeFolder, "peft_torch.h"));
        using var compiler = Process.Start(start)!;
        var messages = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        Assert.True(compiler.ExitCode == 0, messages);
    }

    private static List<MethodInfo> Imports() =>
        [.. typeof(NativeMethods).GetMethods(BindingFlags.Static | BindingFlags.NonPublic)
            .Where(m => m.Name.StartsWith("pt_", StringComparison.Ordinal))];

    private static List<string> ImportNames() => [.. Imports().Select(m => m.Name).Order(StringComparer.Ordinal)];

    private static List<string> HeaderNames() =>
        [.. Directory.GetFiles(NativeFolder, "peft_torch*.h").SelectMany(file => Declaration().Matches(File.ReadAllText(file)))
            .Select(match => match.Groups[1].Value).Order(StringComparer.Ordinal)];

    [GeneratedRegex(@"PT_API int32_t (pt_\w+)\(")]
    private static partial Regex Declaration();
}
