using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Distributed;
using Peft.Models;
using Peft.Training.Checkpoints;

namespace Peft.Training;

/// <summary>What a run trains, and all that the training loop knows of it. Adapters, whole models and gates implement
/// it;
/// what a kind does not need it leaves to the defaults.</summary>
public interface ITrainable : ICheckpointed, IDisposable
{
    /// <summary>The model that computes.</summary>
    CausalLanguageModel Model { get; }

    /// <summary>What the optimizer changes, under stable names.</summary>
    IReadOnlyList<(string Name, Parameter Parameter)> Parameters { get; }

    /// <summary>The model with its adapter; null where the model itself is trained.</summary>
    AdaptedModel? Adapted => null;

    /// <summary>The projections with adapters; none where the model itself is trained.</summary>
    IReadOnlyList<MixtureProjection> Modules => [];

    /// <summary>The number of trainable parameters by part: each parameter of a whole model.</summary>
    IReadOnlyList<(string Name, long Count)> ParameterCounts =>
        [.. Parameters.Select(pair => (pair.Name, pair.Parameter.numel()))];

    /// <summary>Forward and backward passes over each micro-batch; its gradient is their mean.</summary>
    int Passes => 1;

    /// <summary>Comes before each pass over a micro-batch.</summary>
    void BeforePass(TokenBatch batch)
    {
    }

    /// <summary>What is added to the token loss of a pass, its coefficients included; null for nothing.</summary>
    /// <remarks>
    /// Shapes: mask [B, T] bool, true = real token, null: all are; scalar. Gradient: reaches the parameters.
    /// </remarks>
    Tensor? AuxiliaryLoss(ForwardPass pass, Tensor? mask) => Model.BalanceLoss(pass, mask);

    /// <summary>Follows the backward of each pass.</summary>
    /// <param name="pass">The pass.</param>
    /// <param name="mask">[B, T] bool, true = real token; null: all are.</param>
    /// <param name="rowLosses">Makes [B], each row's part of the step's loss.</param>
    void AfterPass(ForwardPass pass, Tensor? mask, Func<Tensor> rowLosses)
    {
    }

    /// <summary>Follows the last pass over a micro-batch.</summary>
    void AfterMicroBatch()
    {
    }

    /// <summary>Follows the last micro-batch of a step: the gradients are those of the whole step, neither clipped nor
    /// applied.</summary>
    void AfterGradients()
    {
    }

    /// <summary>What a step has counted beside its gradients; where several ranks compute a step, the sums over them
    /// take its place before <see cref="AfterStep"/>.</summary>
    /// <remarks>Shapes: any, float32; the same on each rank.</remarks>
    IReadOnlyList<Tensor> StepSums => [];

    /// <summary>What a step has counted of each token; where several ranks compute a step, the rows of all take their
    /// place before <see cref="AfterStep"/>.</summary>
    /// <param name="rowsOfAll">Shapes: [n, ..] each to [N, ..], in the same order on every rank.</param>
    void Gather(Func<IReadOnlyList<Tensor>, IReadOnlyList<Tensor>> rowsOfAll)
    {
    }

    /// <summary>Follows each optimizer step.</summary>
    /// <param name="step">The step's index, from 0.</param>
    /// <param name="isApplied">False where the step was skipped and the parameters are as before.</param>
    void AfterStep(int step, bool isApplied)
    {
    }

    /// <summary>Share of the gate weight that each expert got in a pass; empty without experts.</summary>
    IReadOnlyList<double> ExpertLoad(ForwardPass pass, Tensor? mask) => [];

    /// <summary>What each module's routing did in a pass; empty without routing.</summary>
    IReadOnlyList<RoutingStatistics> Statistics(ForwardPass pass, Tensor? mask) => [];

    /// <summary>The loss on held-out rows: metrics by name, <c>eval_loss</c> among them; null where it was
    /// stopped.</summary>
    IReadOnlyDictionary<string, double>? Evaluate(
        TrainingData data, int batchSize, Device device, StopRequest stop, ICommunicator ranks)
    {
        var batches = data.Eval.Sequential(batchSize).Index()
            .Where(batch => batch.Index % ranks.Size == ranks.Rank).Select(batch => batch.Item)
            .TakeWhile(_ => !stop.IsRequested);
        var losses = EvaluationLoss.Of(Model, batches, data.TaskNames, device, ranks);
        return ranks.Any(stop.IsRequested) ? null : losses;
    }

    /// <summary>The tensors that are saved.</summary>
    IReadOnlyList<Tensor> SavedTensors => [.. Parameters.Select(p => (Tensor)p.Parameter)];

    /// <summary>Their bytes.</summary>
    long SavedBytes => SavedTensors.Sum(tensor => tensor.ByteCount());

    /// <summary>Writes the result of a finished run into its directory.</summary>
    void SaveResult(string directory);
}

/// <summary>Adapters on a frozen base: the result is a bundle, and so is the model of a checkpoint.</summary>
public class AdapterTrainable(BundleContents contents) : ITrainable
{
    private readonly RoutingProcedure? _routing =
        contents.Adapted.Options.Router is null ? null : new RoutingProcedure(contents.Adapted);

    /// <inheritdoc/>
    public CausalLanguageModel Model => Adapted.Model;

    /// <inheritdoc/>
    public IReadOnlyList<(string Name, Parameter Parameter)> Parameters { get; } = contents.Adapted.Parameters;

    /// <inheritdoc/>
    public AdaptedModel Adapted => contents.Adapted;

    /// <inheritdoc/>
    public IReadOnlyList<MixtureProjection> Modules => Adapted.Modules;

    /// <inheritdoc/>
    public IReadOnlyList<(string Name, long Count)> ParameterCounts => Adapted.TrainableParameterCounts;

    /// <inheritdoc/>
    public int Passes => _routing?.Passes ?? 1;

    /// <inheritdoc/>
    public IReadOnlyList<Tensor> SavedTensors => [.. Adapted.State.Select(tensor => tensor.Tensor)];

    /// <inheritdoc/>
    public virtual void BeforePass(TokenBatch batch)
    {
    }

    /// <inheritdoc/>
    public virtual Tensor? AuxiliaryLoss(ForwardPass pass, Tensor? mask)
    {
        var own = Model.BalanceLoss(pass, mask);
        if (!Adapted.HasAuxiliaryLoss || Adapted.AuxiliaryLoss(pass, mask) is not { } routing)
            return own;
        return own is null ? routing : own + routing;
    }

    /// <inheritdoc/>
    public void AfterPass(ForwardPass pass, Tensor? mask, Func<Tensor> rowLosses) =>
        _routing?.AfterPass(pass, mask, rowLosses);

    /// <inheritdoc/>
    public void AfterMicroBatch() => _routing?.AfterMicroBatch();

    /// <inheritdoc/>
    public IReadOnlyList<Tensor> StepSums => _routing?.StepSums ?? [];

    /// <inheritdoc/>
    public void Gather(Func<IReadOnlyList<Tensor>, IReadOnlyList<Tensor>> rowsOfAll) => _routing?.Gather(rowsOfAll);

    /// <inheritdoc/>
    public virtual void AfterGradients()
    {
    }

    /// <inheritdoc/>
    public void AfterStep(int step, bool isApplied)
    {
        if (isApplied)
            _routing?.AfterStep();
        else
            _routing?.Clear();
    }

    /// <inheritdoc/>
    public IReadOnlyList<double> ExpertLoad(ForwardPass pass, Tensor? mask) =>
        Adapters.Routing.ExpertLoad.Of(pass, mask);

    /// <inheritdoc/>
    public IReadOnlyList<RoutingStatistics> Statistics(ForwardPass pass, Tensor? mask) =>
        _routing is null ? [] : RoutingStatistics.Of(pass, mask);

    /// <inheritdoc/>
    public void SaveExactly(string directory) => BundleWriter.Write(directory, contents);

    /// <inheritdoc/>
    public virtual void SaveResult(string directory) => BundleWriter.Write(directory, contents);

    /// <inheritdoc/>
    public void Restore(string directory)
    {
        var weights = OwnBundle.Open(directory).Weights;
        Bundle.RequireBase(directory, contents.Base, "--resume");
        BundleTensors.Load(Adapted, weights.Path, weights.Entries);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _routing?.Dispose();
        DisposeOwn();
        Model.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees what a derived class holds.</summary>
    protected virtual void DisposeOwn()
    {
    }
}
