using CommandLine;
using Peft.Cli.Printing;
using Peft.Data;
using Peft.Data.Tokens;
using Peft.Formats.Tokenizers;
using Peft.Recipes;

namespace Peft.Cli.Verbs;

/// <summary>Shows what the model will see.</summary>
[Verb("data", HelpText = "What the model will see of a recipe's data: tokens, learned or given, what is cut, lengths, packing.")]
public sealed class DataVerb : IVerb
{
    /// <summary>The recipe.</summary>
    [Value(0, MetaName = "RECIPE", Required = true, HelpText = "A recipe file.")]
    public string Recipe { get; set; } = "";

    /// <summary>Overrides.</summary>
    [Option("set", MetaValue = "a.b=v", HelpText = "Override a key of the recipe; may be given several times.")]
    public IEnumerable<string> Set { get; set; } = [];

    /// <summary>Rows shown.</summary>
    [Option("rows", Default = 2, MetaValue = "N", HelpText = "Sequences shown of each data set.")]
    public int Rows { get; set; }

    /// <inheritdoc/>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        if (Rows < 0)
            throw new Formats.UserException($"--rows {Rows}: must be at least 0");
        var recipe = Recipes.Recipe.Load(Recipe, Set);
        var tokenizer = RunBuilder.LoadTokenizer(recipe);
        var preview = DataPreview.Read(
            RunBuilder.WithFoundFiles(recipe), RunBuilder.EncoderOf(recipe, tokenizer), tokenizer,
            Directory.GetCurrentDirectory(), Rows);
        foreach (var sequence in preview.Sequences)
            Show(sequence, output);
        output.Result("");
        using var data = RunBuilder.OpenData(recipe, tokenizer);
        output.Result(Statistics(data));
        if (data.IsStreaming)
            output.Result($"\n{DataSummary.Of(data, recipe.Data)}");
        else if (recipe.Data.RowLength > 0)
            ShowPacking(recipe, data, output);
        return ExitCode.Done;
    }

    private static void Show(PreviewRow sequence, Output output)
    {
        output.Result($"{sequence.DataSet}  {sequence.Row}  task {sequence.Task}  {sequence.Tokens.Count} tokens, " +
            $"{sequence.LearnedTokens} learned" + (sequence.CutTokens > 0 ? $", {sequence.CutTokens} cut from the left" : ""));
        // Brackets rather than colours: the same text on a terminal, in a file and for a screen reader.
        output.Result("  given:   " + string.Join(' ', sequence.Tokens.Where(t => !t.IsLearned).Select(t => t.Text)));
        output.Result("  learned: " + string.Join(' ', sequence.Tokens.Where(t => t.IsLearned).Select(t => $"[{t.Text}]")));
    }

    private static void ShowPacking(Recipe recipe, TrainingData data, Output output)
    {
        var (batch, seed) = (recipe.Training.PerDeviceTrainBatchSize, recipe.Training.Seed);
        var packed = data.FirstEpoch(batch, seed);
        var single = data.FirstEpoch(batch, seed, isPacked: false);
        output.Result("");
        output.Result(
            $"packing: {packed.Sequences:N0} sequences in {packed.Rows:N0} rows of up to {recipe.Data.RowLength} tokens, " +
            $"{packed.SequencesPerRow:F1} a row, {packed.Fill:P1} filled");
        output.Result(
            $"padding: {packed.Padding:N0} tokens an epoch, {single.Padding:N0} without packing" +
            (single.Padding > 0 ? $" ({1 - packed.Padding / (double)single.Padding:P1} saved)" : ""));
        output.Result(
            $"batches: {packed.Batches:N0} an epoch of up to {batch} rows, {packed.Tokens / (double)packed.Batches:N0} tokens each; " +
            $"{single.Batches:N0} of {single.Tokens / (double)single.Batches:N0} without packing");
    }

    private static string Statistics(TrainingData data)
    {
        var table = new TextTable("data set", "rows", "used", "skipped", "tokens", "learned", "cut", "median", "p99", "longest");
        foreach (var set in data.IsStreaming ? data.FirstBlocks() : data.Train.DataSets.Append(data.Train.Statistics))
            Add(set, data.IsStreaming ? $"{set.Name} (first block)" : set.Name);
        foreach (var set in data.Eval.DataSets)
            Add(set, $"{set.Name} (eval)");
        return table.ToString();

        void Add(DataStatistics set, string name) => table.Add(
            name, $"{set.Rows:N0}", $"{set.Sequences:N0}", $"{set.BadRows + set.LongRows + set.FilteredRows:N0}", $"{set.Tokens:N0}",
            $"{set.LearnedTokens:N0}", $"{set.CutTokens:N0}", $"{set.Lengths.Median}", $"{set.Lengths.P99}", $"{set.Lengths.Longest}");
    }
}
