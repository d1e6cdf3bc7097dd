using CommandLine;
using Peft.Cli.Printing;
using Peft.Evaluation.Reports;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Cli.Verbs;

/// <summary>Renders what was measured.</summary>
[Verb("report", HelpText = "Render evaluation results as a report.")]
public sealed class ReportVerb : IVerb
{
    /// <summary>The results.</summary>
    [Value(0, MetaName = "RESULTS...", Required = true, HelpText =
        "results.json files written by peft eval, or their directories; several are joined.")]
    public IEnumerable<string> Results { get; set; } = [];

    /// <summary>The template.</summary>
    [Option("template", Default = "report.html", MetaValue = "NAME|FILE", HelpText =
        "report.html, report.md, model-card.md, summary.txt, or your own Scriban template (.html, .md or .txt).")]
    public string Template { get; set; } = "";

    /// <summary>Where the result goes.</summary>
    [Option("output", Required = true, MetaValue = "FILE", HelpText = "File to write.")]
    public string OutputFile { get; set; } = "";

    /// <summary>Replace.</summary>
    [Option("overwrite", HelpText = "Replace an existing file.")]
    public bool Overwrite { get; set; }

    /// <inheritdoc/>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        if (!Overwrite && File.Exists(OutputFile))
            throw UserException.At(OutputFile, "the file exists already", null,
                "name another with --output, or replace it with --overwrite");
        var template = TemplateFile.Find(Template);
        template.RequireFits(OutputFile);
        var model = ReportSource.Load([.. Results]);
        AtomicFile.WriteText(OutputFile, ReportRenderer.Render(template, model));
        foreach (var note in model.Notes)
            output.Say(Quote.Escaped(note));
        output.Say(Quote.Escaped($"{model.Verdict.Headline} {model.Verdict.Detail}"));
        output.Say($"{OutputFile}: written");
        return ExitCode.Done;
    }
}
