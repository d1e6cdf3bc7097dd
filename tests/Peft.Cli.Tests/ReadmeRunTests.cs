using System.Diagnostics;
using System.Text.RegularExpressions;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>
/// The commands in the shell blocks of the README and the manual run, in their order, as a reader would type them.
/// </summary>
public sealed partial class ReadmeRunTests
{
    // A reader waits for the real training; the test wants to know that the command is right.
    private const string Short =
        " --set training.max_steps=2 --set evaluation.base=false --set 'evaluation.tasks=[{task: lemma, metric: "
        + "exact_match, rows: 2, max_new_tokens: 4}]'";

    [Fact]
    public void Every_command_of_the_readme_and_the_manual_runs()
    {
        using var checkout = new TempFolder();
        foreach (var name in (string[])["recipes", "data"])
            Directory.CreateSymbolicLink(checkout[name], Path.Combine(SharedAssets.Repository, name));
        checkout.Write("bin/peft",
            $"#!/bin/sh\nexec \"{PeftProcess.DotNet()}\" \"{Path.Combine(AppContext.BaseDirectory, "peft.dll")}\" "
            + $"\"$@\"\n");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(checkout["bin/peft"], UnixFileMode.UserRead | UnixFileMode.UserExecute);

        checkout.Write("Makefile",
            Prerequisites().Replace(File.ReadAllText(Path.Combine(SharedAssets.Repository, "Makefile")), "$1:$2"));

        var commands = Pages().SelectMany(
            page => Commands(File.ReadAllLines(Path.Combine(SharedAssets.Repository, page)))).ToList();

        Assert.Contains("make train", commands);
        Assert.Contains("make export", commands);
        Assert.All(commands.Distinct(), command => Run(checkout,
            command.Replace("make train", "bin/peft train recipes/default.yaml").Replace("make eval",
                "make eval ARGS='--rows 2'")));
    }

    // The program is built and the data is there.
    [GeneratedRegex(@"^([a-z]+):(?: (?:setup|build|data))+( ##)", RegexOptions.Multiline)]
    private static partial Regex Prerequisites();

    // In the order of the manual's table.
    private static IEnumerable<string> Pages()
    {
        var manual = File.ReadAllText(Path.Combine(SharedAssets.Repository, "docs", "README.md"));
        string[] listed = [.. PageLink().Matches(manual).Select(match => match.Groups[1].Value)];
        Assert.Equal(
            Directory.GetFiles(Path.Combine(SharedAssets.Repository, "docs"),
                "*.md").Select(Path.GetFileName).Except(["README.md"]).Order(),
            listed.Order());
        return listed.Select(page => Path.Combine("docs", page)).Prepend("README.md");
    }

    [GeneratedRegex(@"\]\((\w[\w-]*\.md)\)")]
    private static partial Regex PageLink();

    private static IEnumerable<string> Commands(string[] lines)
    {
        var isShell = false;
        foreach (var line in lines)
        {
            if (line.StartsWith("```", StringComparison.Ordinal))
                isShell = line == "```sh";
            else if (isShell && line.Split(" #")[0].Trim() is { Length: > 0 } command)
                yield return command;
        }
    }

    private static void Run(TempFolder checkout, string command)
    {
        var shorter = command.Contains("bin/peft train recipes/", StringComparison.Ordinal) ? Short
            : command.Contains("bin/peft train", StringComparison.Ordinal) ? " --set training.max_steps=2" : "";
        var start = new ProcessStartInfo("bash", ["-c", command + shorter])
        {
            WorkingDirectory = checkout.Path,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{command}: exit code {process.ExitCode}\n{output}\n{error.Result}");
    }
}
