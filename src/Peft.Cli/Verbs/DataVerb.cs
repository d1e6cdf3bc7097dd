using System.Globalization;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Recipes;

namespace Peft.Cli.Verbs;

/// <summary>Shows what the model will see.</summary>
[Verb("data", HelpText = "Show what the model will see of a recipe's data.")]
public sealed class DataVerb : IVerb
{
    private const string Unusable = "without a value or unreadable";
    private const string TooLong = "too long";
    private const string Unlearnable = "without a token to learn";

    /// <summary>The recipe.</summary>
    [Value(0, MetaName = "RECIPE", Required = true, HelpText = "A recipe file.")]
    public string Recipe { get; set; } = "";

    /// <summary>Overrides.</summary>
    [Option("set", MetaValue = "a.b=v", HelpText = "Override a key of the recipe; may be repeated.")]
    public IEnumerable<string> Set { get; set; } = [];

    /// <summary>Rows shown.</summary>
    [Option("rows", Default = 2, MetaValue = "N", HelpText = "Sequences to show of each data set.")]
    public int Rows { get; set; }

    /// <inheritdoc/>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        if (Rows < 0)
            throw UserException.At("--rows", $"{Rows}", "a whole number of at least 0");
        var recipe = Recipes.Recipe.Load(Recipe, Set);
        var tokenizer = RunBuilder.LoadTokenizer(recipe);
        var preview = DataPreview.Read(
            RunBuilder.WithFoundFiles(recipe), RunBuilder.EncoderOf(recipe, tokenizer), tokenizer,
            Directory.GetCurrentDirectory(), Rows, RunBuilder.TemplateOf(recipe, tokenizer));
        foreach (var sequence in preview.Sequences)
            Show(sequence, output);
        output.Result("");
        using var data = RunBuilder.OpenData(recipe, tokenizer);
        output.Result(Statistics(data));
        foreach (var line in Losses(data, recipe.Data))
            output.Result(line);
        if (data.IsStreaming)
            output.Result($"\n{Summary(data, recipe.Data)}");
        else if (recipe.Data.RowLength > 0)
            ShowPacking(recipe, data, output);
        return ExitCode.Done;
    }

    /// <summary>What is known of a run's training data before its first step, in one line.</summary>
    internal static string Summary(TrainingData data, DataOptions options)
    {
        if (!data.IsStreaming)
        {
            var all = data.Train.Statistics;
            return $"{Words.Count(all.Sequences, "sequence")}, {Words.Count(all.Tokens, "token")}, "
                + $"{all.LearnedTokens:N0} learned";
        }
        var count = data.TrainCount is { } known
            ? Words.Count(known, "sequence")
            : $"number of sequences unknown ({data.WhyUnknown})";
        return $"streamed in blocks of {Words.Count(options.ShuffleBufferSize, "row")}: {count}, number of tokens "
            + $"unknown, longest row unknown (assumed to be max_length {options.MaxLength})";
    }

    /// <summary>What max_length and unusable rows took away, a line each for <c>train:</c> and <c>eval:</c>; none where
    /// nothing was. Of streamed rows a sample is looked at, and the line says so.</summary>
    internal static IEnumerable<string> Losses(TrainingData data, DataOptions options)
    {
        var lines = data.IsStreaming
            ? data.Sample().SelectMany(set => Losses(set, options, $"{set.Name}, sample of {FirstRows(set)}: "))
            : Losses(data.Train.Statistics, options, "");
        return lines.Concat(Losses(data.Eval.Statistics, options, "evaluation data: "));
    }

    /// <summary>What became of all rows that were streamed in a run.</summary>
    internal static IEnumerable<string> Losses(StreamCounts all, DataOptions options)
    {
        const string Name = "streamed: ";
        yield return $"{Name}{Words.Count(all.DrawnRows, "row")} drawn: {Words.Count(all.Sequences, "sequence")}, "
            + $"{Words.Count(all.Tokens, "token")}, {all.LearnedTokens:N0} learned";
        if (all.CutTokens > 0)
            yield return Cut(Name, all.CutTokens, all.CutSequences, all.Sequences, options);
        if (all.CutTurns > 0)
            yield return LeftOut(Name, all.CutTurns, all.CutConversations, all.Sequences, options);
        if (all.LongRows + all.UnlearnableRows > 0)
            yield return Name + Skipped(all.DrawnRows, (all.LongRows, TooLong), (all.UnlearnableRows, Unlearnable));
        if (all.BadRows > 0)
            yield return Name + Skipped(all.Rows - all.FilteredRows, (all.BadRows, Unusable));
    }

    private static IEnumerable<string> Losses(DataStatistics all, DataOptions options, string name)
    {
        if (all.CutTokens > 0)
            yield return Cut(name, all.CutTokens, all.CutSequences, all.Sequences, options);
        if (all.CutTurns > 0)
            yield return LeftOut(name, all.CutTurns, all.CutConversations, all.Sequences, options);
        if (all.EmptyAnswers > 0)
            yield return Empty(name, all.EmptyAnswers, all.Rows - all.FilteredRows);
        if (all.DroppedRows > 0)
            yield return name + Skipped(
                all.Rows - all.FilteredRows, (all.BadRows, Unusable), (all.LongRows, TooLong),
                (all.UnlearnableRows, Unlearnable));
    }

    private static string Empty(string name, long rows, long of) => $"{name}{Words.Count(rows, "row")} of {of:N0} "
        + $"({Percent(rows / (double)of)}) with an empty answer, which is learned as one";

    private static string Cut(string name, long tokens, long sequences, long of, DataOptions options) =>
        Warned(sequences, of, $"{name}{Words.Count(tokens, "token")} cut off to fit max_length {options.MaxLength}, "
        + $"from {Words.Count(sequences, "sequence")} ({Percent(sequences / (double)of)})");

    private static string LeftOut(string name, long turns, long conversations, long of, DataOptions options) =>
        Warned(conversations, of, $"{name}{Words.Count(turns, "turn")} left out to fit max_length {options.MaxLength}, "
        + $"from {Words.Count(conversations, "conversation")} ({Percent(conversations / (double)of)})");

    // A few long rows are no matter; where most lose something, max_length does not fit the data.
    private static string Warned(long cut, long of, string text) =>
        2 * cut > of ? $"warning: {text}; raise data.max_length" : text;

    private static string Skipped(long of, params (long Rows, string Why)[] reasons)
    {
        var all = reasons.Sum(reason => reason.Rows);
        return $"{all:N0} of {Words.Count(of, "row")} skipped ({Percent(all / (double)of)}): " + string.Join(
            ", ", reasons.Where(reason => reason.Rows > 0).Select(reason => $"{reason.Rows:N0} {reason.Why}"));
    }

    private static string FirstRows(DataStatistics sample) => $"the first {Words.Count(sample.Rows, "row")}";

    private static void Show(PreviewRow sequence, Output output)
    {
        output.Result(
            $"{sequence.DataSet}  {sequence.Row}  task {sequence.Task}  "
            + $"{Words.Count(sequence.Tokens.Count, "token")}, {sequence.LearnedTokens} learned"
            + (sequence.CutTurns > 0 ? $", {Words.Count(sequence.CutTurns, "turn")} left out" : "")
            + (sequence.CutTokens == 0 ? ""
                : $", {sequence.CutTokens} cut from the {(sequence.Roles.Count > 0 ? "right" : "left")}"));
        if (sequence.Roles.Count > 0)
        {
            ShowConversation(sequence, output);
            return;
        }

        // Brackets rather than colours: the same text on a terminal, in a file and for a screen reader.
        output.Result("  prompt:  " + string.Join(' ', sequence.Tokens.Where(t => !t.IsLearned).Select(t => t.Text)));
        output.Result("  learned: "
            + string.Join(' ', sequence.Tokens.Where(t => t.IsLearned).Select(t => $"[{t.Text}]")));
    }

    // In its order: what is learned is green, or in brackets where nothing can be coloured.
    private static void ShowConversation(PreviewRow sequence, Output output)
    {
        output.Result("  roles:   " + string.Join(", ", sequence.Roles));
        output.Result("  tokens:  " + string.Join(' ', sequence.Tokens.Select(token =>
            !token.IsLearned ? token.Text
            : output.ShowsColour ? $"\u001b[32m{token.Text}\u001b[0m" : $"[{token.Text}]")));
    }

    private static void ShowPacking(Recipe recipe, TrainingData data, Output output)
    {
        var (batch, seed) = (recipe.Training.PerDeviceTrainBatchSize, recipe.Training.Seed);
        var packed = data.FirstEpoch(batch, seed);
        var single = data.FirstEpoch(batch, seed, isPacked: false);
        output.Result("");
        output.Result(
            $"packing: {Words.Count(packed.Sequences, "sequence")} in {Words.Count(packed.Rows, "row")} of up to " +
            $"{recipe.Data.RowLength} tokens, {packed.SequencesPerRow:F1} per row, {Percent(packed.Fill)} filled");
        output.Result(
            $"padding: {packed.Padding:N0} tokens per epoch, {single.Padding:N0} without packing" +
            (single.Padding > 0 ? $" ({Percent(1 - packed.Padding / (double)single.Padding)} saved)" : ""));
        output.Result(
            $"batches: {packed.Batches:N0} per epoch of up to {Words.Count(batch, "row")}, " +
            $"{packed.Tokens / (double)packed.Batches:N0} tokens each; " +
            $"without packing {single.Batches:N0} of {single.Tokens / (double)single.Batches:N0} tokens");
    }

    private static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{100 * share:F1}%");

    private static string Statistics(TrainingData data)
    {
        var table = new TextTable("data set", "rows", "used", "skipped", "tokens", "learned", "cut", "median", "p99",
            "longest");
        foreach (var set in data.IsStreaming ? data.Sample() : data.Train.DataSets.Append(data.Train.Statistics))
            Add(set, data.IsStreaming ? $"{set.Name} (sample)" : set.Name);
        foreach (var set in data.Eval.DataSets)
            Add(set, $"{set.Name} (eval)");
        return table.ToString();

        void Add(DataStatistics set, string name) => table.Add(
            name, $"{set.Rows:N0}", $"{set.Sequences:N0}", $"{set.DroppedRows + set.FilteredRows:N0}",
            $"{set.Tokens:N0}", $"{set.LearnedTokens:N0}", $"{set.CutTokens:N0}",
            $"{set.Lengths.Median}", $"{set.Lengths.P99}", $"{set.Lengths.Longest}");
    }
}
