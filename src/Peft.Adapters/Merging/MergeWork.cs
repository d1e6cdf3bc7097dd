using Peft.Adapters.Bundles;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Merging;

/// <summary>A module of the result.</summary>
/// <param name="Path">Its path.</param>
/// <param name="Out">Output width.</param>
/// <param name="In">Input width.</param>
/// <param name="Rank">Rank of the result, or of each expert.</param>
internal sealed record MergedModule(string Path, long Out, long In, int Rank);

/// <summary>A merge in progress: what the file will hold, each module made when its tensors are written.</summary>
internal abstract class MergeWork : IDisposable
{
    private readonly IReadOnlyList<MergeSource> _sources;
    private readonly MergeOptions _options;
    private string? _current;
    private IReadOnlyList<Tensor> _tensors = [];

    protected MergeWork(IReadOnlyList<MergeSource> sources, MergeOptions options)
    {
        _sources = sources;
        _options = options;
        var paths = sources.SelectMany(source => source.Modules.Keys).Distinct().Order(StringComparer.Ordinal);
        Sizes = paths.ToDictionary(
            path => path,
            path =>
            {
                var present = sources.Where(source => source.Modules.ContainsKey(path))
                    .Select(source => source.Modules[path]).ToList();
                return new MergeSizes(present[0].Out, present[0].In, [.. present.Select(module => module.Rank)]);
            },
            StringComparer.Ordinal);
    }

    /// <summary>The modules of the result.</summary>
    public abstract IReadOnlyList<MergedModule> Modules { get; }

    /// <summary>The number of values that training would change.</summary>
    public abstract long TrainableParameters { get; }

    protected IReadOnlyDictionary<string, MergeSizes> Sizes { get; }

    /// <summary>The tensors of the file.</summary>
    public abstract IReadOnlyList<SafetensorsWrite> Tensors();

    /// <summary>The outcome of the merge, after it was written.</summary>
    public abstract MergeReport Report(IReadOnlyList<string> notes);

    public void Dispose() => Drop();

    protected IReadOnlyList<string> Names => [.. _sources.Select(source => source.Name)];

    /// <summary>Makes the tensors of one module.</summary>
    protected abstract IReadOnlyList<Tensor> Make(MergedModule module, MergeInputs inputs);

    protected SafetensorsWrite Entry(
        MergedModule module, string ending, int tensor, params IReadOnlyList<long> shape) => new(
        BundleTensors.Prefix + module.Path + ending, SafetensorsDtype.F32, shape, stream =>
            Of(module)[tensor].WriteBytes(stream));

    /// <summary>Every module once, its tensors freed when the next is asked for.</summary>
    public IEnumerable<MergeInputs> All()
    {
        foreach (var path in Sizes.Keys)
        {
            using var scope = torch.NewDisposeScope();
            yield return Inputs(path);
        }
    }

    // The writer asks for the tensors of a module one after the other.
    private IReadOnlyList<Tensor> Of(MergedModule module)
    {
        if (_current == module.Path)
            return _tensors;
        Drop();
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        _tensors = [
            .. Make(module, Inputs(module.Path))
            .Select(tensor => tensor.contiguous().clone().DetachFromDisposeScope())];
        _current = module.Path;
        return _tensors;
    }

    private MergeInputs Inputs(string path)
    {
        var inputs = new List<MergeInput>();
        for (var i = 0; i < _sources.Count; i++)
        {
            if (!_sources[i].Modules.TryGetValue(path, out var module))
                continue;
            var faults = new Faults();
            var update = module.Read(faults);
            faults.ThrowIfAny(_sources[i].WeightsPath);
            inputs.Add(
                new MergeInput(i, _sources[i].Name, _options.WeightOf(i), module.Scale, update!.Down, update.Up));
        }
        return new MergeInputs(path, Sizes[path].Out, Sizes[path].In, _sources.Count, inputs);
    }

    private void Drop()
    {
        foreach (var tensor in _tensors)
            tensor.Dispose();
        (_tensors, _current) = ([], null);
    }
}

/// <summary>A merge into one plain LoRA.</summary>
internal sealed class StaticWork : MergeWork
{
    private readonly StaticMerge _method;
    private readonly MergeOptions _options;
    private readonly List<ModuleLoss> _losses = [];

    public StaticWork(IReadOnlyList<MergeSource> sources, StaticMerge method, MergeOptions options)
        : base(sources, options)
    {
        _method = method.Prepared(All, options);
        _options = options;
        Modules = [
            .. Sizes.Select(
                pair => new MergedModule(pair.Key, pair.Value.Out, pair.Value.In, method.RankOf(pair.Value, options)))];
    }

    public override IReadOnlyList<MergedModule> Modules { get; }

    public override long TrainableParameters => Modules.Sum(module => module.Rank * (module.In + module.Out));

    public override IReadOnlyList<SafetensorsWrite> Tensors() =>
        [.. Modules.SelectMany(module => new[]
        {
            Entry(module, ".lora_A.weight", 0, module.Rank, module.In), Entry(
                module, ".lora_B.weight", 1, module.Out, module.Rank),
        })];

    public override MergeReport Report(IReadOnlyList<string> notes) =>
        new(_method.Name, Names, [.. _losses.OrderBy(loss => loss.Path, StringComparer.Ordinal)], null, notes);

    protected override IReadOnlyList<Tensor> Make(MergedModule module, MergeInputs inputs)
    {
        var merged = _method.Merge(inputs, _options);
        var exact = inputs.Sum(input => _method.Coefficient(_options, input.Adapter, inputs.Adapters)).Product();
        var product = merged.Product();
        _losses.Add(new ModuleLoss(module.Path, module.Rank, Energy(product - exact), Energy(product), Energy(exact)));
        return [merged.Down, merged.Up];
    }

    private static double Energy(Tensor values) => (values * values).sum(torch.float64).ToDouble();
}

/// <summary>A merge into a mixture that routes.</summary>
internal sealed class RoutedWork : MergeWork
{
    private readonly IReadOnlyList<MergeSource> _sources;
    private readonly RoutedMerge _method;
    private readonly MergeOptions _options;
    private readonly ExpertSimilarity _similarity;
    private readonly List<IReadOnlyDictionary<string, Func<Faults, Tensor?>>?> _vectors;

    public RoutedWork(IReadOnlyList<MergeSource> sources, RoutedMerge method, MergeOptions options)
        : base(sources, options)
    {
        _sources = sources;
        _method = method;
        _options = options;
        _similarity = new ExpertSimilarity(sources.Count);
        _vectors = [.. sources.Select(source => method.VectorKind is { } kind ? source.Vectors(kind) : null)];
        Modules = [
            .. Sizes.Select(pair => new MergedModule(pair.Key, pair.Value.Out, pair.Value.In, pair.Value.Ranks.Max()))];
    }

    public override IReadOnlyList<MergedModule> Modules { get; }

    // The experts stay as they are; only the vectors would learn.
    public override long TrainableParameters => _method.LearnsVectors
        ? Modules.Sum(module => _sources.Count * module.In)
        : 0;

    public override IReadOnlyList<SafetensorsWrite> Tensors()
    {
        long experts = _sources.Count;
        return [.. Modules.SelectMany(module => new[]
        {
            Entry(module, ".lora_A.experts", 0, experts * module.Rank, module.In), Entry(
                module, ".lora_B.experts", 1, module.Out, experts * module.Rank),
            Entry(module, $".router.{_method.TensorName}", 2, experts * Block(module).Rows, Block(module).Columns),
            Present(module),
        }.Concat(OfTasks(module)))];
    }

    // The same in every module: a projection has all that its router goes by.
    private IEnumerable<SafetensorsWrite> OfTasks(MergedModule module)
    {
        if (!_method.GoesByTask)
            yield break;
        var rows = _sources.Select(source => source.Task!.Vector).ToList();
        yield return Plain(
            GliderRouter.EmbeddingsName, [rows.Count, rows[0].Count], [.. rows.SelectMany(row => row)]);
        if (_options.Query.Count > 0)
            yield return Plain(
                GliderRouter.QueryName, [_options.Query.Count], [.. _options.Query.Select(value => (float)value)]);

        SafetensorsWrite Plain(string name, long[] shape, float[] values) => new(
            $"{BundleTensors.Prefix}{module.Path}.router.{name}", SafetensorsDtype.F32, shape, stream =>
        {
            using var tensor = torch.tensor(values, shape);
            tensor.WriteBytes(stream);
        });
    }

    public override MergeReport Report(IReadOnlyList<string> notes) => new(_method.Name, Names, [], _similarity, notes);

    // Experts of a smaller rank are filled up with zeros; those that lack the module are zero and marked as not there.
    protected override IReadOnlyList<Tensor> Make(MergedModule module, MergeInputs inputs)
    {
        var (E, R) = ((long)_sources.Count, (long)module.Rank);
        var down = torch.zeros([E * R, module.In], torch.float32);
        var up = torch.zeros([module.Out, E * R], torch.float32);
        var (rows, columns) = Block(module);
        var stored = torch.zeros([E * rows, columns], torch.float32);
        var vectors = new List<Tensor>();
        foreach (var input in inputs.Present)
        {
            var rank = input.Down.shape[0];
            down.narrow(0, input.Adapter * R, rank).copy_(input.Down);
            up.narrow(1, input.Adapter * R, rank).copy_(input.Up * input.Scale);
            var vector = _method.VectorOf(input, Trained(module, input.Adapter));
            var block = _method.BlockOf(input, vector, _options);
            stored.narrow(0, input.Adapter * rows, block.shape[0]).narrow(1, 0, block.shape[1]).copy_(block);
            vectors.Add(vector);
        }
        _similarity.Add(inputs.Present, torch.stack(vectors, 0));
        return [down, up, stored];
    }

    private (long Rows, long Columns) Block(MergedModule module) => _method.BlockShape(module.Rank, module.In);

    private Tensor? Trained(MergedModule module, int adapter)
    {
        if (_vectors[adapter] is not { } vectors)
            return null;
        var faults = new Faults();
        var vector = vectors[module.Path](faults);
        if (vector is not null && !vector.shape.SequenceEqual([module.In]))
            faults.Add(
                $"{module.Path}.{_method.VectorKind}", BundleTensors.Shape(vector.shape), $"[{module.In}]",
                "train it again: peft gate");
        faults.ThrowIfAny(_sources[adapter].Directory);
        return vector!.to(torch.float32);
    }

    private SafetensorsWrite Present(MergedModule module) => new(
        $"{BundleTensors.Prefix}{module.Path}.router.{MergedRouter.PresentName}", SafetensorsDtype.BOOL, [
            _sources.Count],
        stream =>
            stream.Write([.. _sources.Select(source => (byte)(source.Modules.ContainsKey(module.Path) ? 1 : 0))]));
}
