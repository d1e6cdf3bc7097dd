using System.Diagnostics;

namespace Peft.Cli.Tests.Support;

/// <summary>
/// Makes permissions count for root too: the program is started without the rights to pass over them.
/// </summary>
internal static class Permissions
{
    private static readonly string[] WithoutRights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

    public static bool IsPossible { get; } = !Environment.IsPrivilegedProcess || Works();

    public static Surroundings Surroundings
    {
        get;
    } = new() { Prefix = Environment.IsPrivilegedProcess ? WithoutRights : [] };

    public static void Set(string path, UnixFileMode mode)
    {
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, mode);
    }

    private static bool Works()
    {
        try
        {
            using var process = Process.Start(
                new ProcessStartInfo(WithoutRights[0], [WithoutRights[1], "true"]) { RedirectStandardError = true })!;
            process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}

/// <summary>
/// A theory about permissions; reported as skipped, with the reason, where root cannot give its rights away.
/// </summary>
public sealed class PermissionTheoryAttribute : TheoryAttribute
{
    public PermissionTheoryAttribute() =>
        Skip = Permissions.IsPossible ? null : "root passes over permissions here and setpriv cannot change that";
}
