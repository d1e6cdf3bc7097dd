using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Formats;
using Peft.Models;

namespace Peft.Training;

/// <summary>A mixture that learns one more task, with gradients that keep away from what the tasks before
/// use.</summary>
/// <remarks>
/// Source: SAME, arXiv:2602.01990; <see cref="SameRule"/> has the formulas. Before the first step rows of the task are
/// run once with the mixture as it came: that gives the task's inputs and which experts it uses, and from them what
/// every step does. It follows from data and bundle alone, so a run that is resumed has the same. After the last step
/// the rows are run once more, for what the bundle leaves to the next stage. Inferred: these two runs (the code looks
/// at every twentieth batch); an expert that is frozen keeps its A and B and may still be chosen, as the paper's text
/// has it (the code leaves it out of the routing).
/// </remarks>
public sealed class ContinualTrainable : AdapterTrainable
{
    private readonly BundleContents _contents;
    private readonly ContinualOptions _options;
    private readonly TrainingData _data;
    private readonly int _batchSize;
    private readonly Device _device;
    private readonly ContinualState? _before;
    private readonly List<(Tensor Parameter, GradientShape Shape)> _shapes = [];
    private readonly List<(MixtureProjection Module, IReadOnlyList<int> Experts)> _frozen = [];

    private ContinualTrainable(
        BundleContents contents, ContinualOptions options, ContinualState? before, TrainingData data, int batchSize,
        Device device)
        : base(contents)
    {
        (_contents, _options, _data, _batchSize, _device) = (contents, options, data, batchSize, device);
        using var off = torch.no_grad();
        foreach (var tensor in TensorsOf(before))
            tensor.DetachFromDisposeScope();
        _before = before;
        using var scope = torch.NewDisposeScope();
        var now = Measure();
        foreach (var module in Modules.Where(module => now.ContainsKey(module.Path)))
            Plan(module, now[module.Path], before?.Modules[module.Path]);
    }

    /// <summary>The experts of each projection that stay as they are in this stage.</summary>
    public IReadOnlyList<(string Path, IReadOnlyList<int> Experts)> Frozen =>
        [.. _frozen.Select(entry => (entry.Module.Path, entry.Experts))];

    /// <summary>Looks at the task's rows and makes the stage's plan.</summary>
    /// <param name="contents">The mixture, as the stage before left it.</param>
    /// <param name="options">The settings.</param>
    /// <param name="before">What the stages before left; null in the first.</param>
    /// <param name="data">The rows.</param>
    /// <param name="batchSize">Rows looked at together.</param>
    /// <param name="device">Where the model is.</param>
    /// <exception cref="UserException">The routers do not allow it.</exception>
    public static ContinualTrainable Of(
        BundleContents contents, ContinualOptions options, ContinualState? before, TrainingData data, int batchSize,
        Device device)
    {
        foreach (var module in contents.Adapted.Modules.Where(module => module.Router is not null))
        {
            if (GateOf(module) is null || module.Shape is { HasOneDown: true } or { Part: not ExpertPart.Projection }
                || contents.Adapted.Options.Router!.Preliminary != PreliminaryPass.None)
                throw UserException.At(
                    "adapter.router.kind", $"{contents.Adapted.Options.Router!.Kind} beside training.continual",
                    "a router with a gate matrix on the input of each projection, and experts with an A and a B of "
                        + "their own, such as top-k or soft");
        }
        return new(contents, options, before, data, batchSize, device);
    }

    /// <inheritdoc/>
    public override void AfterGradients()
    {
        using var off = torch.no_grad();
        foreach (var (parameter, shape) in _shapes)
        {
            if (parameter.grad is { } gradient)
                shape.Apply(gradient);
        }
        foreach (var (module, experts) in _frozen)
        {
            var rank = module.Shape.Rank;
            foreach (var expert in experts)
            {
                using var scope = torch.NewDisposeScope();
                module.Down.grad?.narrow(0, (long)expert * rank, rank).zero_();
                module.Up.grad?.narrow(1, (long)expert * rank, rank).zero_();
            }
        }
    }

    /// <inheritdoc/>
    public override void SaveResult(string directory)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var now = Measure();
        var state = new ContinualState((_before?.Stages ?? 0) + 1, now.ToDictionary(
            pair => pair.Key, pair => pair.Value.After(_before?.Modules[pair.Key]), StringComparer.Ordinal));
        BundleWriter.Write(directory, _contents with { Beside = [ContinualFile.Of(state)] });
    }

    /// <inheritdoc/>
    protected override void DisposeOwn()
    {
        foreach (var tensor in TensorsOf(_before)
            .Concat(_shapes.SelectMany(entry => new[] { entry.Shape.Directions, entry.Shape.Scale })))
            tensor.Dispose();
    }

    private void Plan(MixtureProjection module, InputStatistics own, InputStatistics? before)
    {
        if (SameRule.Experts(before, own, _options) is { } experts)
            Add(module.Down, experts);
        if (GateOf(module) is not { } gate)
            return;
        Add(gate, SameRule.Router(own.After(before), own, _options));
        if (before is not null
            && SameRule.Frozen(SameRule.Score(own.Use!, before.Importance!), _before!.Stages, _options)
                is { Count: > 0 } frozen)
            _frozen.Add((module, frozen));
    }

    private void Add(Tensor parameter, GradientShape shape)
    {
        shape.Directions.DetachFromDisposeScope();
        shape.Scale.DetachFromDisposeScope();
        _shapes.Add((parameter, shape));
    }

    private static Parameter? GateOf(MixtureProjection module) =>
        module.Router is { } router and not SharedRouter
            && router.named_parameters().FirstOrDefault(pair => pair.name == "weight").parameter is { } gate
            && gate.shape.AsSpan().SequenceEqual([module.Shape.Experts, module.InFeatures]) ? gate : null;

    private IReadOnlyDictionary<string, InputStatistics> Measure()
    {
        using var watch = new InputWatch(_contents.Adapted);
        var total = (_data.Train.Count + _batchSize - 1) / _batchSize;
        var wanted = Math.Min(total, ((long)_options.Rows + _batchSize - 1) / _batchSize);
        foreach (var (at, batch) in _data.Train.Sequential(_batchSize).Index())
        {
            if ((at + 1) * wanted / total == at * wanted / total)
                continue;
            using var scope = torch.NewDisposeScope();
            using var tensors = BatchTensors.From(batch, _device);
            var pass = tensors.InferencePass();
            Model.Hidden(tensors.Ids, pass);
            watch.AfterPass(pass);
        }
        return watch.Statistics();
    }

    private static IEnumerable<Tensor> TensorsOf(ContinualState? state) =>
        state?.Modules.Values.SelectMany(module => module.Tensors) ?? [];
}
