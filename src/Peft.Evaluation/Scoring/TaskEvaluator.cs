using Peft.Adapters.Lora;
using Peft.Chat;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tasks;
using Peft.Formats.Tokenizers;
using Peft.Models;

namespace Peft.Evaluation.Scoring;

/// <summary>Has one model answer the rows of one task.</summary>
/// <remarks>
/// Rows of like length share a batch. The batches follow from rows and batch size alone, so that an evaluation that was
/// interrupted continues with the same ones; other batch sizes give the same numbers but for the rounding of float32,
/// unless a router goes by all tokens of a batch.
/// </remarks>
public sealed class TaskEvaluator
{
    private readonly CausalLanguageModel _model;
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly int _batchSize;
    private readonly TextEncoder _encoder;
    private readonly Rewiring? _rewiring;

    /// <summary>Makes the evaluator of a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="batchSize">Rows answered together.</param>
    /// <param name="rewiring">Fits the model's routers to each prompt, a row at a time; null: they stay.</param>
    public TaskEvaluator(
        CausalLanguageModel model, HuggingFaceTokenizer tokenizer, int batchSize, Rewiring? rewiring = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        (_model, _tokenizer, _batchSize) = (model, tokenizer, rewiring is null ? batchSize : 1);
        _rewiring = rewiring;
        _encoder = TextEncoder.Of(tokenizer, model.Config.EosTokenIds, model.Config.VocabularySize);
    }

    /// <summary>Whether given texts are scored in one pass each, for routers that need later tokens too; then the other
    /// rows of a batch have a say, and the size of batches changes the numbers.</summary>
    public bool ScoresWhole { get; init; }

    /// <summary>The encoder of a task's texts.</summary>
    public PromptEncoder EncoderOf(EvaluationTask task) =>
        new(_encoder, Math.Min(task.MaxLength ?? int.MaxValue, _model.Config.MaxPositionEmbeddings));

    /// <summary>Answers every row.</summary>
    /// <param name="data">The task and its rows.</param>
    /// <param name="taskId">The task's id, for routers that go by task.</param>
    /// <param name="answer">Answers each batch, which is given with its number; may throw to end it. Null: the model
    /// does.</param>
    /// <returns>One result a row, in the order of the rows.</returns>
    public IReadOnlyList<RowResult> Run(
        TaskData data, long? taskId = null, Func<int, TaskBatch, IReadOnlyList<RowResult>>? answer = null) =>
        [.. Batches(data, taskId).Index()
            .SelectMany(batch => answer is null ? batch.Item.Answer() : answer(batch.Index, batch.Item))
            .OrderBy(result => result.Index)];

    /// <summary>
    /// The batches of a task, the longest prompts first; nothing is computed until one is asked for its answers.
    /// </summary>
    /// <param name="data">The task and its rows.</param>
    /// <param name="taskId">The task's id, for routers that go by task.</param>
    public IReadOnlyList<TaskBatch> Batches(TaskData data, long? taskId = null)
    {
        var encoder = EncoderOf(data.Task);
        return data.Task.Kind switch
        {
            TaskKind.Generation => Batches(
                data, row => encoder.Prompt(row.Prompt, data.Task.MaxNewTokens), prompt => prompt.Prompt.Ids.Count,
                (rows, prompts) => Generate(data, rows, prompts, taskId)),
            TaskKind.Perplexity => Batches(
                data, row => encoder.Windows(row.Answer), windows => windows.Sum(window => window.Ids.Count),
                (rows, windows) => ScoreTexts(rows, windows, taskId)),
            _ => Batches(
                data, row => Choices(encoder, row), group => ContinuationScorer.Shared(group),
                (rows, groups) => ScoreChoices(rows, groups, taskId)),
        };
    }

    private List<TaskBatch> Batches<T>(
        TaskData data, Func<TaskRow, T> encode, Func<T, int> length,
        Func<List<TaskRow>, List<T>, IEnumerable<RowResult>> answer) =>
    [
        .. data.Rows.Select(row => (Row: row, Encoded: encode(row)))
            .OrderByDescending(entry => length(entry.Encoded)).Chunk(_batchSize)
            .Select(chunk => new TaskBatch(
                chunk.Length,
                () => [.. answer([.. chunk.Select(entry => entry.Row)], [.. chunk.Select(entry => entry.Encoded)])])),
    ];

    private static List<ScoredSequence> Choices(PromptEncoder encoder, TaskRow row) =>
        [
            .. row.Choices.Index().Where(choice => choice.Item is not null)
                .Select(choice => encoder.Pair(row.ContextOf(choice.Index), choice.Item!)),
        ];

    private IEnumerable<RowResult> ScoreChoices(List<TaskRow> rows, List<List<ScoredSequence>> groups, long? taskId)
    {
        if (_rewiring is not null)
        {
            _rewiring.Reset();
            _rewiring.Fit([.. groups[0][0].Ids.Take(groups[0][0].From)], taskId);
        }
        var scores = ContinuationScorer.Score(_model, groups, taskId, ScoresWhole);
        for (var i = 0; i < rows.Count; i++)
        {
            var next = 0;
            double[] all =
            [
                .. rows[i].Choices.Select(choice => choice is null ? double.NegativeInfinity : scores[i][next++]),
            ];
            yield return new(rows[i].Index, "", all, 0, groups[i].Any(sequence => sequence.IsTruncated));
        }
    }

    // A long text has many windows: they are taken together as rows are.
    private IEnumerable<RowResult> ScoreTexts(
        List<TaskRow> rows, List<IReadOnlyList<ScoredSequence>> windows, long? taskId)
    {
        var sums = new double[rows.Count];
        var all = windows.SelectMany((own, row) => own.Select(window => (Row: row, Window: window)));
        foreach (var chunk in all.Chunk(_batchSize))
        {
            var scores = ContinuationScorer.Score(
                _model, [.. chunk.Select(entry => (IReadOnlyList<ScoredSequence>)[entry.Window])], taskId,
                ScoresWhole);
            foreach (var (entry, score) in chunk.Zip(scores))
                sums[entry.Row] += score[0];
        }
        return rows.Select(
            (row, i) => new RowResult(
                row.Index, "", [sums[i]], windows[i].Sum(window => window.Ids.Count - window.From), false));
    }

    private IEnumerable<RowResult> Generate(
        TaskData data, List<TaskRow> rows, List<(EncodedPrompt Prompt, bool IsTruncated)> prompts, long? taskId)
    {
        var task = data.Task;
        var frame = data.Template is { } template ? AnswerFrame.Of(template, _encoder) : AnswerFrame.None;
        var ends = _encoder.WithEnds(frame.EndIds).Ends;
        IReadOnlyList<string> stops = frame.EndText is null ? task.Stop : [.. task.Stop, frame.EndText];
        var options = new GenerationOptions
        {
            MaxNewTokens = task.MaxNewTokens,
            EosTokenIds = ends,
            TaskId = taskId,
            IsFinished = stops.Count == 0
                ? null : ids => stops.Any(stop => Text(ids, ends).Contains(stop, StringComparison.Ordinal)),
        };
        var generated = _rewiring is null
            ? TextGeneration.GenerateBatch(_model, [.. prompts.Select(prompt => prompt.Prompt.Ids)], options)
            : [[.. _rewiring.Generate(prompts[0].Prompt.Ids, options)]];
        return rows.Select((row, i) => new RowResult(
            row.Index,
            Answered(frame, BeforeStop(prompts[i].Prompt.Continuation(Text(generated[i], ends)), stops)), [], 0,
            prompts[i].IsTruncated));
    }

    private string Text(IReadOnlyList<int> ids, IReadOnlyList<int> ends) =>
        _tokenizer.Decode(ids.TakeWhile(id => !ends.Contains(id)), skipSpecialTokens: true);

    private static string Answered(AnswerFrame frame, string text) =>
        text.StartsWith(frame.Lead, StringComparison.Ordinal) ? text[frame.Lead.Length..] : text;

    private static string BeforeStop(string text, IReadOnlyList<string> stops)
    {
        var end = stops.Select(stop => text.IndexOf(stop, StringComparison.Ordinal)).Where(at => at >= 0)
            .DefaultIfEmpty(text.Length).Min();
        return text[..end];
    }
}

/// <summary>Rows that are answered together.</summary>
/// <param name="Rows">How many.</param>
/// <param name="Answer">Answers them.</param>
public sealed record TaskBatch(int Rows, Func<IReadOnlyList<RowResult>> Answer);
