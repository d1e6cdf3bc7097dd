using System.Diagnostics;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;
using Peft.Distributed;
using Peft.Formats;
using Peft.Models;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;
using Peft.Training.Ranks;

namespace Peft.Training;

/// <summary>Asks a running loop to save and return after the step it is in; set by a signal handler.</summary>
public sealed class StopRequest
{
    private volatile bool _requested;

    /// <summary>Whether stopping was asked for.</summary>
    public bool IsRequested => _requested;

    /// <summary>Asks for the stop; safe from any thread.</summary>
    public void Request() => _requested = true;

    /// <summary>Ends what has nothing to save.</summary>
    /// <exception cref="OperationCanceledException">Stopping was asked for.</exception>
    public void ThrowIfRequested()
    {
        if (_requested)
            throw new OperationCanceledException();
    }
}

/// <summary>How a run ended.</summary>
public enum TrainingEnd
{
    /// <summary>All steps were done, or early stopping ended the run.</summary>
    Finished,

    /// <summary>Stopping was asked for; a checkpoint was written.</summary>
    Interrupted,
}

/// <summary>The outcome of a run.</summary>
/// <param name="End">How it ended.</param>
/// <param name="Steps">Optimizer steps done in all.</param>
/// <param name="BestStep">Step of the best evaluation, when evaluations were compared.</param>
/// <param name="BestEvalLoss">Its loss.</param>
/// <param name="Checkpoint">The checkpoint written on interruption.</param>
public sealed record TrainingOutcome(
    TrainingEnd End, int Steps, int? BestStep, double? BestEvalLoss, string? Checkpoint)
{
    /// <summary>How many of the steps were not applied because a number in them was not finite.</summary>
    public int SkippedSteps { get; init; }

    /// <summary>What became of the rows of streamed data since the run's first step; null where they were read
    /// before.</summary>
    public StreamCounts? Streamed { get; init; }
}

/// <summary>The one training loop: batches in, parameters changed, numbers out.</summary>
/// <remarks>
/// Everything random in a step comes from a generator seeded by (seed, step, micro-batch), so the position in the data
/// and
/// the optimizer's state are all that a checkpoint has to hold for an exact continuation.
/// The loss of a step is the sum over its learned tokens divided once by their number over all micro-batches.
/// Where several ranks run the loop, each reads the same batches and computes its rows of them; what they decide by is
/// summed over all, so that they decide alike.
/// </remarks>
#pragma warning disable CA1001 // what it holds for the ranks is there from the first step on, and Run ends it
public sealed class TrainingLoop(TrainingRun run)
#pragma warning restore CA1001
{
    private const int LongestSkip = 10; // steps in a row: then it is not a matter of single rows

    private readonly ITrainable _trainable = run.Trainable;
    private readonly TrainingOptions _options = run.Options;
    private readonly LearningRateSchedule _schedule = run.Schedule;
    private readonly StepExchange _exchange = new(run.Ranks, run.DeviceRanks ?? run.Ranks);
    private TrainingState _state = TrainingState.Start;
    private long _ownTokens;
    private double _ownSeconds;
    private double _exchangeSeconds;
    private int _ownSteps;
    private bool _allStop; // ranks stop at the same step
    private BatchStream? _batches;

    /// <summary>Takes up the checkpoint to go on from, and makes sure that all ranks would train the same; writes
    /// nothing. <see cref="Run"/> does so where nobody has.</summary>
    /// <exception cref="AgreedException">The ranks would not, or one of them cannot begin.</exception>
    public void Open()
    {
        _batches = run.Ranks.Together(Begin, error => (error.Message, error is UserException ? 2 : 1));
        if (run.Ranks.IsShared())
            Handshake.Compare(run.Ranks, Identity(_batches.State.DataSha256));
    }

    /// <summary>Trains until the last step, an early stop or a stop request.</summary>
    /// <exception cref="NonFiniteLossException">A loss, gradient or trainable parameter is not finite; the last
    /// checkpoint is good.</exception>
    /// <exception cref="AgreedException">The ranks can no longer work together.</exception>
    public TrainingOutcome Run(StopRequest stop)
    {
        using var exchange = _exchange;
        if (_batches is null)
            Open();
        var batches = _batches!;
        foreach (var sink in run.Sinks)
            sink.Start(_state.Step, run.TotalSteps);

        while ((_state.Step < run.TotalSteps || _state.EvaluationDue) && !_state.StoppedEarly)
        {
            if (!_state.EvaluationDue)
                Advance(batches, stop);
            var last = _state.Step == run.TotalSteps;
            if (_state.EvaluationDue)
                Evaluate(stop);
            if (IsStopped(stop) && (!last || _state.EvaluationDue) && !_state.StoppedEarly)
                return Outcome(TrainingEnd.Interrupted, Save(), batches);
            if (_options.SaveSteps > 0 && _state.Step % _options.SaveSteps == 0 && !last)
                Save();
        }
        FlushSinks();
        if (_options.LoadBestModelAtEnd && _state.BestStep is { } best && best != _state.Step)
            RestoreBest(best);
        RequireFiniteParameters();
        _exchange.RequireSame(_trainable.SavedTensors, _state.Step);
        return Outcome(TrainingEnd.Finished, null, batches);
    }

    // From the checkpoint, or from the beginning.
    private BatchStream Begin()
    {
        if (run.ResumeFrom is { } checkpoint)
        {
            _state = CheckpointStore.Restore(checkpoint, run.RecipeIdentity, _trainable, run.Optimizer);
            if (run.Ranks.IsFirst() && _options.LoadBestModelAtEnd && _state.BestStep is { } bestSoFar)
                run.Checkpoints.RequireBest(bestSoFar);
        }
        return run.Data.Batches(_options.PerDeviceTrainBatchSize, _options.Seed, _state.Data);
    }

    // What would train differently where it differs.
    private IReadOnlyList<(string Name, string Value)> Identity(string data) =>
    [
        ("the recipe", Handshake.Short(run.RecipeIdentity)), ("the data files", Handshake.Short(data)),
        ("the held-out rows", Handshake.Short(run.Data.Eval.DataSha256)),
        ("the first step", $"{_state.Step}"), ("the number of steps", $"{run.TotalSteps}"),
        ("the parameters", Handshake.HashOf(
            _trainable.Parameters.Select(pair => (pair.Name, (Tensor)pair.Parameter)))[..12]),
        .. run.Identity,
    ];

    private bool IsStopped(StopRequest stop) => run.Ranks.IsShared() ? _allStop : stop.IsRequested;

    // Others may not see rank 0's disk.
    private void RestoreBest(int step)
    {
        if (run.Ranks.IsFirst())
            run.Checkpoints.RestoreParameters(step, _trainable);
        _exchange.SendFromFirst(_trainable.SavedTensors);
    }

    private void Advance(BatchStream batches, StopRequest stop)
    {
        var report = Step(NextMicroBatches(batches), stop);
        _state = _state with
        {
            Step = report.Step,
            Data = batches.State,
            SkippedSteps = report.Skipped?.Count ?? _state.SkippedSteps,
            SkippedInARow = report.Skipped is null ? 0 : _state.SkippedInARow + 1,
            EvaluationDue = run.Data.Eval.Count > 0 && IsDue(_options.EvalSteps, report.Step == run.TotalSteps,
                report.Step),
        };
        foreach (var sink in run.Sinks)
            sink.Write(report);
    }

    private TrainingOutcome Outcome(TrainingEnd end, string? checkpoint, BatchStream batches) =>
        new(end, _state.Step, _state.BestStep, _state.BestEvalLoss, checkpoint)
        {
            SkippedSteps = _state.SkippedSteps,
            Streamed = batches.Counts,
        };

    private static bool IsDue(int every, bool last, int step) => last || (every > 0 && step % every == 0);

    private List<TokenBatch> NextMicroBatches(BatchStream batches) =>
        [.. Enumerable.Range(0, _options.GradientAccumulationSteps).Select(_ => batches.Next())];

    private StepReport Step(List<TokenBatch> micro, StopRequest stop)
    {
        var started = Stopwatch.GetTimestamp();
        var learned = micro.Sum(b => b.LearnedTokens);
        var sums = new StepSums();
        run.Optimizer.zero_grad();
        var passes = _trainable.Passes;
        foreach (var (i, own) in RankPlan.Of(micro, run.Ranks.Size, run.Ranks.Rank).Index())
        {
            if (own is null)
                continue;
            for (var p = 0; p < passes; p++)
                ForwardBackward(own, new(i, micro.Count, p, passes, learned, micro[i].BatchSize), sums);
            _trainable.AfterMicroBatch();
            _ownTokens += own.Batch.Lengths.Sum(length => (long)length);
        }
        _ownSeconds += Stopwatch.GetElapsedTime(started).TotalSeconds;
        var exchanged = Stopwatch.GetTimestamp();
        Exchange(sums, stop);
        _exchangeSeconds += Stopwatch.GetElapsedTime(exchanged).TotalSeconds;
        _ownSteps++;
        _trainable.AfterGradients();

        var norm = Gradients.clip_grad_norm_(
            _trainable.Parameters.Select(p => p.Parameter),
            _options.MaxGradNorm > 0 ? _options.MaxGradNorm : double.MaxValue);
        var rate = _schedule.At(_state.Step);
        var skipped = SkipIfNotFinite(sums, norm, micro);
        if (skipped is null)
        {
            run.Optimizer.lr = rate;
            run.Optimizer.step();
        }
        _trainable.AfterStep(_state.Step, isApplied: skipped is null);

        var tokens = micro.Sum(b => b.Lengths.Sum(l => (long)l));
        var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        return new(_state.Step + 1, sums.Loss, sums.Aux, rate, norm, tokens, tokens / seconds, sums.Load())
        {
            Skipped = skipped,
            Routing = sums.Routing,
            PeakMemoryBytes = run.Device.type == DeviceType.CPU ? PeakMemory() : null,
        };
    }

    /// <summary>Real tokens that this rank has computed, by the seconds that it computed them in.</summary>
    public double OwnTokensPerSecond => _ownSeconds > 0 ? _ownTokens / _ownSeconds : 0;

    /// <summary>Seconds of a step that this rank was in sums or waited for others to come to them.</summary>
    public double ExchangeSecondsPerStep => _ownSteps > 0 ? _exchangeSeconds / _ownSteps : 0;

    private void Exchange(StepSums sums, StopRequest stop)
    {
        if (!run.Ranks.IsShared())
            return;
        _exchange.Sum(_trainable.Parameters, _trainable.StepSums);
        _trainable.Gather(_exchange.RowsOfAll);
        _allStop = sums.SumOver(_exchange, stop.IsRequested, _trainable.Modules.Select(module => Math.Max(
            module.Router?.Context.Experts ?? 0, Math.Max(module.Shape.Experts, module.Shape.Rank))).DefaultIfEmpty()
            .Max());
    }

    private static long PeakMemory()
    {
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }

    // Which of a step's passes: each micro-batch may be passed several times, and counts once in all.
    private readonly record struct Part(
        int Index, int MicroBatches, int Pass, int Passes, long LearnedInStep, int Rows);

    private void ForwardBackward(RankPart own, Part part, StepSums sums)
    {
        var batch = own.Batch;
        using var scope = torch.NewDisposeScope();
        var stream = part.Pass == 0 ? $"step.{_state.Step}.{part.Index}"
            : $"step.{_state.Step}.{part.Index}.{part.Pass}";
        using var random = Seeds.GeneratorFor(_options.Seed, stream, run.Device);
        using var tensors = BatchTensors.From(batch, run.Device);
        _trainable.BeforePass(batch);
        var pass = tensors.TrainingPass(random, _options.GradientCheckpointing, own.Rows is null ? null
            : new BatchShare(part.Rows, own.Rows, run.Ranks.Size, _exchange.SumInPlace));
        var hidden = _trainable.Model.Hidden(tensors.Ids, pass);                            // [B, T, D]
        var losses = TokenLoss.PerToken(_trainable.Model, hidden, tensors, pass);           // [M]
        var learned = Math.Max(1, part.LearnedInStep);
        var token = losses.sum() / (learned * part.Passes);
        var auxiliary = _trainable.AuxiliaryLoss(pass, tensors.TokenMask) is { } whole
            ? whole / (part.MicroBatches * part.Passes) : null;
        var total = auxiliary is null ? token : token + auxiliary;
        // With everything frozen on the path of a batch there is nothing to learn from it.
        if (total.requires_grad)
            pass.Backward(total);
        _trainable.AfterPass(pass, tensors.TokenMask, () => TokenLoss.PerRow(losses, tensors) / learned);
        var loss = token.ToDouble();
        // Of a batch that all compute, all have the same: one counts.
        sums.Add(loss, auxiliary is null ? 0 : auxiliary.ToDouble(), _trainable.ExpertLoad(pass, tensors.TokenMask),
            isCounted: own.Rows is null || run.Ranks.IsFirst());
        if (part.Index == part.MicroBatches - 1 && part.Pass == part.Passes - 1
            && IsDue(_options.LoggingSteps, _state.Step + 1 == run.TotalSteps, _state.Step + 1))
            sums.Routing = _trainable.Statistics(pass, tensors.TokenMask);
        if (!double.IsFinite(loss))
            sums.Blamed.AddRange(NonFiniteRows.Of(losses, tensors.LearnedIndex, batch));
    }

    // Stopped, it stays due: a continued run makes it first.
    private void Evaluate(StopRequest stop)
    {
        if (_state.Step == run.TotalSteps)
        {
            foreach (var sink in run.Sinks)
                sink.Evaluating(run.Data.Eval.Count);
        }
        if (_trainable.Evaluate(run.Data, _options.PerDeviceEvalBatchSize, run.Device, stop, run.Ranks)
            is not { } metrics)
        {
            _allStop = true;
            return;
        }
        _state = _state with { EvaluationDue = false };
        var report = new EvaluationReport(_state.Step, metrics);
        foreach (var sink in run.Sinks)
            sink.Write(report);
        if (!metrics.TryGetValue("eval_loss", out var loss))
            return;
        var improved = double.IsFinite(loss)
            && (_state.BestEvalLoss is not { } best || loss < best - _options.EarlyStoppingThreshold);
        _state = improved
            ? _state with { BestEvalLoss = loss, BestStep = _state.Step, EvaluationsWithoutGain = 0 }
            : _state with { EvaluationsWithoutGain = _state.EvaluationsWithoutGain + 1 };
        if (_options.EarlyStoppingPatience > 0 && _state.EvaluationsWithoutGain >= _options.EarlyStoppingPatience)
            _state = _state with { StoppedEarly = true };
        if (improved && _options.LoadBestModelAtEnd)
            Save();
    }

    private string Save()
    {
        RequireFiniteParameters();
        _exchange.RequireSame(_trainable.SavedTensors, _state.Step);
        FlushSinks();
        var path = run.Ranks.IsFirst()
            ? run.Checkpoints.Save(
                new(_state, run.TotalSteps, run.RecipeIdentity, run.Inputs), _trainable, run.Optimizer,
                _options.SaveTotalLimit)
            : run.Checkpoints.PathOf(_state.Step);
        run.Ranks.Barrier();
        return path;
    }

    private void FlushSinks()
    {
        foreach (var sink in run.Sinks)
            sink.Flush();
    }

    // Null for a step that can be applied.
    private SkippedStep? SkipIfNotFinite(StepSums sums, double norm, List<TokenBatch> micro)
    {
        var what = !double.IsFinite(sums.Loss + sums.Aux) ? "loss" : !double.IsFinite(norm) ? "gradient" : null;
        if (what is null)
            return null;
        var blamed = run.Ranks.Texts(string.Join('\n', sums.Blamed)).SelectMany(rows => rows.Split('\n'))
            .Where(row => row.Length > 0).Distinct().ToList();
        var rows = blamed.Count > 0 ? blamed : micro.SelectMany(b => b.Rows).Select(row => row.ToString());
        var found = NonFiniteLossException.Describe(what, _state.Step + 1, rows);
        if (_options.OnNonFinite == "stop")
            throw new NonFiniteLossException(found, LastCheckpoint());
        if (_state.SkippedInARow == LongestSkip)
            throw new NonFiniteLossException($"{found} The {LongestSkip} steps before were skipped too.",
                LastCheckpoint());
        return new(_state.SkippedSteps + 1, found);
    }

    // A step with finite gradients can still carry a value beyond what its type holds; that must not be kept.
    private void RequireFiniteParameters()
    {
        using var frozen = torch.no_grad();
        foreach (var (name, parameter) in _trainable.Parameters)
        {
            using var scope = torch.NewDisposeScope();
            if (!parameter.isfinite().all().item<bool>())
                throw new NonFiniteLossException(
                    $"step {_state.Step}: {name} holds a value that is not a finite number.", LastCheckpoint());
        }
    }

    private string? LastCheckpoint() => (run.Checkpoints.Latest() ?? run.ResumeFrom)?.Path;
}
