using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Formats;

namespace Peft.Evaluation.Reports;

/// <summary>From paths of results to the report's model.</summary>
public static class ReportSource
{
    /// <summary>Reads results, and the rows beside them, and joins them.</summary>
    /// <param name="paths">Results files, or directories that hold one.</param>
    /// <exception cref="UserException">A file that cannot be read, or results that do not belong together.</exception>
    public static ReportModel Load(IReadOnlyList<string> paths)
    {
        if (paths.Count == 0)
            throw UserException.At(
                "peft report", "no results given",
                $"at least one {ResultsFile.Name} that peft eval or peft train wrote");
        var files = paths.Select(path => (Path: path, Results: ResultsFile.Load(path))).ToList();
        foreach (var (path, document) in files)
            MeasuredBundle.RequireCurrent(ResultsFile.PathOf(path), document);
        var names = ResultsJoin.Names(files);
        var tables = files.Select(
            file => Path.Combine(
                Path.GetDirectoryName(Path.GetFullPath(ResultsFile.PathOf(file.Path)))!, ExamplesFile.Name))
            .Zip(names).Where(table => File.Exists(table.First)).ToList();
        var lines = tables.SelectMany(table => ExampleReader.Lines(table.First, table.Second)).ToList();
        var scores = new ExampleScores();
        foreach (var group in lines.GroupBy(line => (line.Subject, line.Task)))
            scores.Add(
                group.Key.Subject, group.Key.Task,
                [.. group.DistinctBy(line => line.Row).Select(line => (line.Row, line.Score))]);
        var notes = new List<string>();
        var results = ResultsJoin.Join(files, names, scores, notes);
        return ReportBuilder.Build(results, ExampleReader.Choose(results, tables, lines), notes);
    }
}
