using Peft.Formats;

namespace Peft.Evaluation.Reports;

/// <summary>Finds the chart library that the page carries: beside the program, then what <c>make setup</c> installed above it.</summary>
public static class ChartLibrary
{
    /// <summary>Name of the file beside the program.</summary>
    public const string FileName = "echarts.min.js";

    private static readonly string Installed = Path.Combine(".artifacts", "npm", "node_modules", "echarts", "dist", FileName);

    /// <summary>Its text.</summary>
    /// <exception cref="UserException">It is not installed.</exception>
    public static string Read() => File.ReadAllText(Locate(AppContext.BaseDirectory));

    /// <summary>Its file.</summary>
    /// <exception cref="UserException">It is not installed.</exception>
    public static string Locate(string programFolder)
    {
        var beside = Path.Combine(programFolder, FileName);
        if (File.Exists(beside))
            return beside;
        for (var folder = programFolder; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (Path.Combine(folder, Installed) is var installed && File.Exists(installed))
                return installed;
        }
        throw new UserException(
            $"{FileName} - not found beside the program ({programFolder}) nor in {Installed} above it - it draws the charts of report.html - run `make setup build`, or use --template report.md");
    }
}
