using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Peft.Architecture.Tests;

/// <summary>The Makefile and the other build files keep what the README promises.</summary>
public sealed partial class BuildFileTests
{
    /// <summary>The targets that users and scripts rely on.</summary>
    private static readonly string[] PromisedTargets =
        ["help", "setup", "build", "train", "merge", "eval", "report", "export", "compare", "test", "soak", "fuzz",
            "bench", "lint", "clean", "data"];

    [Fact]
    public void The_makefile_has_every_promised_target() => Assert.Empty(PromisedTargets.Except(MakefileTargets.Names));

    [Fact]
    public void Every_target_has_a_remark_that_help_prints()
    {
        var findings = RepositoryFiles.Lines("Makefile").Where(line => Target().IsMatch(line)
            && !line.Contains(" ## ", StringComparison.Ordinal));
        RepositoryFiles.AssertNone(findings, "targets without a '## remark':");
    }

    [Fact]
    public void Every_target_is_phony()
    {
        var phony = RepositoryFiles.Lines("Makefile").Single(
            line => line.StartsWith(".PHONY:", StringComparison.Ordinal)).Split(' ').Skip(1);
        Assert.Equal(MakefileTargets.Names.Order(), phony.Order());
    }

    [Fact]
    public void The_first_target_is_help() => Assert.Equal("help", MakefileTargets.Names[0]);

    [Theory]
    [InlineData("two")]
    [InlineData("0")]
    [InlineData("2 3")]
    public void Ranks_that_are_no_number_are_refused_before_anything_is_built(string ranks)
    {
        var start = new ProcessStartInfo("make", ["train", $"RANKS={ranks}"])
        {
            WorkingDirectory = SharedAssets.Repository, RedirectStandardError = true,
        };
        using var make = Process.Start(start)!;
        Assert.Contains(
            $"RANKS: {ranks}; expected how many processes, such as RANKS=2", make.StandardError.ReadToEnd(),
            StringComparison.Ordinal);
        make.WaitForExit();
        Assert.Equal(2, make.ExitCode);
    }

    [Fact]
    public void No_build_file_holds_an_address() =>
        RepositoryFiles.AssertNone(
            RepositoryFiles.Findings(BuildFiles(),
                line => Address().IsMatch(line) && !line.Contains("xmlns", StringComparison.Ordinal)),
            "packages are named, hosts are not:");

    [Fact]
    public void NuGet_packages_have_one_exact_version_each()
    {
        var versions = XDocument.Parse(RepositoryFiles.Text("Directory.Packages.props")).Descendants(
            "PackageVersion").ToList();
        Assert.All(versions, version => Assert.Matches(ExactVersion(), version.Attribute("Version")!.Value));
        var projects = RepositoryFiles.Below("src",
            ".csproj").Concat(RepositoryFiles.Below("data", ".csproj")).Concat(
            RepositoryFiles.Below("tests", ".csproj", ".props"));
        RepositoryFiles.AssertNone(
            RepositoryFiles.Findings(projects, line => PackageVersionOutsideTheList().IsMatch(line)),
            "versions stand in Directory.Packages.props only:");
    }

    [Fact]
    public void Npm_packages_have_one_exact_version_each()
    {
        using var package = JsonDocument.Parse(RepositoryFiles.Text("data/package.json"));
        Assert.All(package.RootElement.GetProperty("dependencies").EnumerateObject(),
            entry => Assert.Matches(ExactVersion(), entry.Value.GetString()!));
    }

    [Fact]
    public void Every_npm_package_is_described_beside_the_script()
    {
        using var package = JsonDocument.Parse(RepositoryFiles.Text("data/package.json"));
        var readme = RepositoryFiles.Text("data/README.md");
        Assert.All(
            package.RootElement.GetProperty("dependencies").EnumerateObject(),
            entry =>
                Assert.Matches($@"`{Regex.Escape(entry.Name)}`[^\n]*{Regex.Escape(entry.Value.GetString()!)}", readme));
    }

    [Fact]
    public void The_ci_script_runs_the_tests()
    {
        var lines = RepositoryFiles.Lines(".ci/run");
        Assert.Equal("#!/usr/bin/env bash", lines[0]);
        Assert.Contains("set -euo pipefail", lines);
        Assert.Equal("exec make test", lines[^1]);
    }

    private static IEnumerable<string> BuildFiles() =>
        RepositoryFiles.Below("").Where(file =>
            file is "Makefile" or ".ci/run" or "data/package.json"
            || file.StartsWith("scripts/", StringComparison.Ordinal)
            || Path.GetExtension(file).ToUpperInvariant() is ".SH" or ".CONFIG" or ".PROPS" or ".TARGETS" or ".CSPROJ");

    [GeneratedRegex(@"^[a-z][a-z-]*:(?!=)")]
    private static partial Regex Target();

    [GeneratedRegex("https?" + "://")]
    private static partial Regex Address();

    [GeneratedRegex(@"^\d+\.\d+\.\d+(-[A-Za-z0-9.]+)?$")]
    private static partial Regex ExactVersion();

    [GeneratedRegex(@"<PackageReference[^>]*\bVersion(Override)?=")]
    private static partial Regex PackageVersionOutsideTheList();
}
