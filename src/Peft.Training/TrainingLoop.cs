using System.Diagnostics;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Models;
using Peft.Torch;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;

namespace Peft.Training;

/// <summary>How a run ended.</summary>
public enum TrainingEnd
{
    /// <summary>All steps were done, or early stopping ended the run.</summary>
    Finished,

    /// <summary>Stopping was asked for; a checkpoint was written.</summary>
    Interrupted,
}

/// <summary>What a run came to.</summary>
/// <param name="End">How it ended.</param>
/// <param name="Steps">Optimizer steps done in all.</param>
/// <param name="BestStep">Step of the best evaluation, when evaluations were compared.</param>
/// <param name="BestEvalLoss">Its loss.</param>
/// <param name="Checkpoint">The checkpoint written on interruption.</param>
public sealed record TrainingOutcome(
    TrainingEnd End, int Steps, int? BestStep, double? BestEvalLoss, string? Checkpoint);

/// <summary>The one training loop: batches in, parameters changed, numbers out.</summary>
/// <remarks>
/// Everything random in a step comes from a generator seeded by (seed, step, micro-batch), so the position in the data and
/// the optimizer's state are all that a checkpoint has to hold for an exact continuation.
/// The loss of a step is the sum over its learned tokens divided once by their number over all micro-batches.
/// </remarks>
public sealed class TrainingLoop(TrainingRun run)
{
    private readonly TrainingOptions _options = run.Options;
    private TrainingState _state = TrainingState.Start;

    /// <summary>Trains until the last step, an early stop or a stop request.</summary>
    /// <exception cref="NonFiniteLossException">The loss or gradient is not finite; the step was not applied.</exception>
    public TrainingOutcome Run(StopRequest stop)
    {
        if (run.ResumeFrom is { } checkpoint)
        {
            _state = CheckpointStore.Restore(checkpoint, run);
            run.Checkpoints.RequireBest(_state, _options);
        }
        var batches = run.Batches(_state.Data);
        foreach (var sink in run.Sinks)
            sink.Start(_state.Step, run.TotalSteps);

        while (_state.Step < run.TotalSteps && !_state.StoppedEarly)
        {
            var report = Step(NextMicroBatches(batches));
            _state = _state with { Step = report.Step, Data = batches.State };
            foreach (var sink in run.Sinks)
                sink.Write(report);

            var last = _state.Step == run.TotalSteps;
            if (run.Evaluate is not null && IsDue(_options.EvalSteps, last))
                Evaluate();
            if (stop.IsRequested && !last && !_state.StoppedEarly)
                return new(TrainingEnd.Interrupted, _state.Step, _state.BestStep, _state.BestEvalLoss, Save());
            if (_options.SaveSteps > 0 && _state.Step % _options.SaveSteps == 0 && !last)
                Save();
        }
        FlushSinks();
        if (_options.LoadBestModelAtEnd && _state.BestStep is { } best && best != _state.Step)
            run.Checkpoints.RestoreParameters(best, run);
        return new(TrainingEnd.Finished, _state.Step, _state.BestStep, _state.BestEvalLoss, null);
    }

    private bool IsDue(int every, bool last) => last || (every > 0 && _state.Step % every == 0);

    private List<TokenBatch> NextMicroBatches(BatchStream batches) =>
        [.. Enumerable.Range(0, _options.GradientAccumulationSteps).Select(_ => batches.Next())];

    private StepReport Step(List<TokenBatch> micro)
    {
        var started = Stopwatch.GetTimestamp();
        var learned = micro.Sum(b => b.LearnedTokens);
        var sums = new StepSums();
        run.Optimizer.zero_grad();
        for (var i = 0; i < micro.Count; i++)
            ForwardBackward(micro[i], i, learned, micro.Count, sums);

        var norm = torch.nn.utils.clip_grad_norm_(
            run.Parameters.Select(p => p.Parameter), _options.MaxGradNorm > 0 ? _options.MaxGradNorm : double.MaxValue);
        RequireFinite("loss", sums.Loss + sums.Aux, micro);
        RequireFinite("gradient", norm, micro);
        var rate = run.Schedule.At(_state.Step);
        run.Optimizer.lr = rate;
        run.Optimizer.step();
        run.AfterStep?.Invoke(_state.Step);

        var tokens = micro.Sum(b => b.Lengths.Sum(l => (long)l));
        var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        return new(_state.Step + 1, sums.Loss, sums.Aux, rate, norm, tokens, tokens / seconds, sums.Load());
    }

    private void ForwardBackward(TokenBatch batch, int index, long learnedInStep, int microBatches, StepSums sums)
    {
        using var scope = torch.NewDisposeScope();
        using var random = torch.GeneratorFor(_options.Seed, $"step.{_state.Step}.{index}", run.Device);
        using var tensors = BatchTensors.From(batch, run.Device);
        var pass = tensors.TrainingPass(random);
        var hidden = run.Model.Hidden(tensors.Ids, pass);                                   // [B, T, D]
        var losses = TokenLoss.PerToken(run.Model, hidden, tensors, pass);                  // [M]
        var token = losses.sum() / Math.Max(1, learnedInStep);
        var auxiliary = run.AuxiliaryLoss?.Invoke(pass, tensors.TokenMask);
        var total = auxiliary is null ? token : token + auxiliary / microBatches;
        // With everything frozen on the path of a batch there is nothing to learn from it.
        if (total.requires_grad)
            total.backward();
        sums.Add(token.ToDouble(), auxiliary is null ? 0 : auxiliary.ToDouble() / microBatches, run.Load?.Invoke(pass, tensors.TokenMask));
    }

    private void Evaluate()
    {
        var metrics = run.Evaluate!(_state.Step);
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
        FlushSinks();
        return run.Checkpoints.Save(_state, run, _options.SaveTotalLimit);
    }

    private void FlushSinks()
    {
        foreach (var sink in run.Sinks)
            sink.Flush();
    }

    private void RequireFinite(string what, double value, List<TokenBatch> micro)
    {
        if (!double.IsFinite(value))
            throw new NonFiniteLossException(
                what, _state.Step + 1, micro.SelectMany(b => b.Rows).Select(r => r.ToString()), run.Checkpoints.Latest()?.Path);
    }

    // Plain numbers of one step; the loop's only reads from the device.
    private sealed class StepSums
    {
        private double[]? _load;
        private int _loads;

        public double Loss { get; private set; }

        public double Aux { get; private set; }

        public void Add(double loss, double aux, IReadOnlyList<double>? load)
        {
            Loss += loss;
            Aux += aux;
            if (load is not { Count: > 0 })
                return;
            _load ??= new double[load.Count];
            for (var e = 0; e < load.Count; e++)
                _load[e] += load[e];
            _loads++;
        }

        public IReadOnlyList<double> Load() => _load is null ? [] : [.. _load.Select(v => Math.Round(v / _loads, 6))];
    }
}
