using Peft.Data;
using Peft.Evaluation.Metrics;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Models.Generation;

namespace Peft.Evaluation;

/// <summary>Answers held-out rows by greedy decoding and compares the answers with the expected ones.</summary>
public static class AnswerEvaluator
{
    /// <summary>Measures every task of the options.</summary>
    /// <param name="model">The model; answers do not depend on the batch size but for float rounding.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="rows">The held-out sequences: what comes before the first learned token is the prompt.</param>
    /// <param name="taskNames">Names by task id.</param>
    /// <param name="options">Tasks, metrics and numbers of rows.</param>
    /// <param name="batchSize">Rows decoded together.</param>
    public static IReadOnlyList<TaskResult> Run(
        CausalLanguageModel model, Tokenizer tokenizer, SequenceSet rows, IReadOnlyList<string> taskNames,
        EvaluationOptions options, int batchSize) =>
        [.. options.Tasks.Select(task => Measure(model, tokenizer, Select(rows, taskNames, task), task, batchSize))];

    private static List<TokenSequence> Select(SequenceSet rows, IReadOnlyList<string> taskNames, TaskOptions task)
    {
        var selected = new List<TokenSequence>();
        for (var i = 0L; i < rows.Count && selected.Count < task.Rows; i++)
        {
            if (rows[i] is var row && taskNames[row.TaskId] == task.Name)
                selected.Add(row);
        }
        return selected;
    }

    private static TaskResult Measure(
        CausalLanguageModel model, Tokenizer tokenizer, List<TokenSequence> rows, TaskOptions task, int batchSize)
    {
        // The end that the data teaches is the tokenizer's, where it names one.
        List<int> ends = [.. model.Config.EosTokenIds, .. tokenizer.EosId is { } end ? [end] : Array.Empty<int>()];
        var generation = new GenerationOptions { MaxNewTokens = task.MaxNewTokens, Temperature = 0, EosTokenIds = ends };
        var predictions = new List<string>(rows.Count);
        var answers = new List<string>(rows.Count);
        // Rows of like length share a batch, so that little padding is computed.
        foreach (var batch in rows.OrderBy(r => PromptLength(r)).Chunk(batchSize))
        {
            var prompts = batch.Select(r => (IReadOnlyList<int>)r.Ids[..PromptLength(r)]).ToList();
            var generated = TextGeneration.GenerateBatch(model, prompts, generation);
            predictions.AddRange(generated.Select(Text));
            answers.AddRange(batch.Select(r => Text(r.Ids[PromptLength(r)..])));
        }
        var metric = AnswerMetric.Of(task.Metric);
        return new(task.Name, metric.Name, metric.HigherIsBetter, metric.Score(predictions, answers), rows.Count);

        string Text(IReadOnlyList<int> ids) =>
            tokenizer.Decode(ids.TakeWhile(id => !ends.Contains(id)), skipSpecialTokens: true);
    }

    private static int PromptLength(TokenSequence row) => Math.Max(1, Array.IndexOf(row.Learned, true));
}
