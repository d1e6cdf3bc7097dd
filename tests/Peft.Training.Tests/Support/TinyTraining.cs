using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Distributed;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Models.Loading;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;

namespace Peft.Training.Tests.Support;

/// <summary>
/// A random llama of a few thousand values, a small data set, and runs over them put together as a program would. Each
/// <see cref="Build"/> starts from nothing, as a process that begins anew does.
/// </summary>
public sealed class TinyTraining : IDisposable
{
    private const string Config = """
        {"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32, "rms_norm_eps": 1e-6,
         "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
         "attention_bias": false, "mlp_bias": false, "initializer_range": 0.2}
        """;

    private readonly List<IDisposable> _owned = [];

    public TinyTraining(int rows = 13)
    {
        File.WriteAllText(Folder["config.json"], Config);
        WriteRows(rows);
    }

    public TempFolder Folder { get; } = new();

    public static TrainingOptions Options { get; } = new()
    {
        PerDeviceTrainBatchSize = 4, MaxSteps = 12, LearningRate = 0.02, LrSchedulerType = "cosine", WarmupSteps = 2,
        WeightDecay = 0.01, SaveSteps = 0, Seed = 7,
    };

    /// <summary>
    /// Dropout, a router that chooses, and a balance loss: everything that could break an exact continuation.
    /// </summary>
    public static AdapterOptions Mixture { get; } = new()
    {
        Method = AdapterOptions.Mixture, R = 2, LoraAlpha = 4, LoraDropout = 0.1,
        Experts = new ExpertOptions { Count = 4 },
        Router = new TopKRouterOptions { TopK = 2, Balance = new() { Kind = "switch", Coefficient = 0.01 } },
    };

    /// <summary>Every router of the catalog, by kind, and what some of them keep or draw beside.</summary>
    public static IReadOnlyDictionary<string, string> Routers { get; } = RouterCatalog.Entries
        .ToDictionary(entry => entry.Kind, entry => $$"""{"kind": "{{entry.Kind}}"}""")
        .Append(KeyValuePair.Create("loss-free",
        """{"kind": "top-k", "balance": {"kind": "loss-free", "rate": 0.01}}"""))
        .Append(KeyValuePair.Create("bip", """{"kind": "top-k", "balance": {"kind": "bip", "ema": 0.5}}"""))
        .Append(KeyValuePair.Create("quantile",
        """{"kind": "top-k", "scoring_func": "sigmoid", "balance": {"kind": "quantile"}}"""))
        .Append(KeyValuePair.Create("sinkhorn",
        """{"kind": "top-k", "balance": {"kind": "sinkhorn", "fraction": 0.5, "noise": 0.1}}"""))
        .Append(KeyValuePair.Create("sequence", """{"kind": "rloo", "granularity": "sequence", "selections": 2}"""))
        .Append(KeyValuePair.Create("batch", """{"kind": "lily", "average": "batch"}"""))
        .ToDictionary();

    /// <summary>A mixture with the router of a recipe's section.</summary>
    public static AdapterOptions WithRouter(string router)
    {
        var faults = new Faults();
        var options = AdapterOptions.Read(new OptionReader(
            ConfigJson.Parse(
                $$"""{"method": "mixture", "r": 4, "lora_dropout": 0.1, {{SquareFor(router)}} "router": {{router}}}""",
                "adapter"), "adapter", faults));
        faults.ThrowIfAny("adapter");
        return options;
    }

    // Some routers are for projections that give as many values as they take.
    private static string SquareFor(string router) => RouterCatalog.Entries.Any(entry =>
        entry.First.NeedsSquare && router.Contains($"\"{entry.Kind}\"", StringComparison.Ordinal))
        ? """ "target_modules": ["q_proj", "o_proj"], """ : "";

    public static AdapterOptions Lora { get; } = new() { R = 2, LoraAlpha = 4 };

    public DataOptions Data => new()
    {
        Train = [new DataSetOptions
        {
            Name = "rows", Files = [Folder["rows.jsonl"]], Prompt = TextTemplate.Parse("{p}"),
            Answer = TextTemplate.Parse("{a}"),
        }],
        MaxLength = 16, BucketWindow = 2,
    };

    /// <summary>The same with its rows held out too, so that runs evaluate.</summary>
    public DataOptions Evaluated => Data with { Eval = Data.Train };

    /// <summary>A row repeats its prompt, which is 1 to 5 tokens long.</summary>
    public void WriteRows(int count)
    {
        var random = new Random(5);
        var rows = Enumerable.Range(0, count).Select(row => string.Join(
            ' ', Enumerable.Range(0, 1 + row % 5).Select(_ => random.Next(3, 32))));
        File.WriteAllLines(Folder["rows.jsonl"], rows.Select(ids => $$"""{"p": "{{ids}}", "a": "{{ids}}"}"""));
    }

    public TrainingData Open(DataOptions? options = null)
    {
        var data = TrainingData.Open(
            options ?? Data, TextEncoder.Of(NumberTokenizer.Of(32, bos: 1), [2]), Folder.Path);
        _owned.Add(data);
        return data;
    }

    public CausalLanguageModel NewModel(ScalarType dtype = ScalarType.Float32)
    {
        var model = ModelLoader.Create(ModelConfigFile.Read(Folder.Path), dtype, 3);
        _owned.Add(model);
        return model;
    }

    /// <summary>A run from nothing. No adapter: all parameters are trained.</summary>
    public TrainingRun Build(TrainingOptions options, AdapterOptions? adapter, string output = "out",
        DataOptions? dataOptions = null, CausalLanguageModel? model = null)
    {
        var data = Open(dataOptions);
        if (model is null)
            model = NewModel();
        else
            _owned.Add(model);
        ITrainable trainable = adapter is null
            ? new WholeModel(model)
            : new AdapterTrainable(new BundleContents
            {
                Adapted = AdapterAttachment.Attach(model, adapter, options.Seed),
                Base = new BaseIdentity("tiny", "0"),
            });
        var run = TrainingRun.Of(
            trainable, data, options, Folder[output], torch.CPU, "training:\n  learning_rate: 0.02\n  seed: 7\n");
        _owned.Add(run.Optimizer);
        return run;
    }

    /// <summary>The bytes of every trained parameter, and of the optimizer's state when it is given.</summary>
    public static Dictionary<string, byte[]> Bytes(TrainingRun run, bool withOptimizer = false)
    {
        using var scope = torch.NewDisposeScope();
        var tensors = run.Trainable.Parameters.Select(p => (p.Name, Tensor: (Tensor)p.Parameter));
        if (withOptimizer)
            tensors = tensors.Concat(run.Optimizer.StateDict().Select(s => (s.Key, s.Value)));
        return tensors.ToDictionary(t => t.Name, t => t.Tensor.detach().ToBytes());
    }

    public void Dispose()
    {
        foreach (var owned in _owned)
            owned.Dispose();
        Folder.Dispose();
    }

    private sealed class WholeModel : ITrainable
    {
        public WholeModel(CausalLanguageModel model)
        {
            Model = model;
            model.RequireGrad(true);
            Parameters = model.BaseParameters;
        }

        public CausalLanguageModel Model { get; }

        public IReadOnlyList<(string Name, Parameter Parameter)> Parameters { get; }

        public void SaveExactly(string directory) => TensorFile.Write(
            Path.Combine(Directory.CreateDirectory(directory).FullName, "model.safetensors"), Model.StateDict());

        public void SaveResult(string directory) => SaveExactly(directory);

        public void Restore(string directory) =>
            TensorFile.ReadInto(Path.Combine(directory, "model.safetensors"), [.. Model.StateDict()]);

        public void Dispose() => Model.Dispose();
    }
}

/// <summary>Keeps what it is told; may do something after each step.</summary>
public sealed class RecordingSink(Action<StepReport>? after = null) : IMetricSink
{
    public List<string> Calls { get; } = [];

    public List<StepReport> Steps { get; } = [];

    public List<EvaluationReport> Evaluations { get; } = [];

    /// <summary>Everything of a step but the time it took, exactly.</summary>
    public IEnumerable<string> Numbers => Steps.Select(s =>
        $"{s.Step} {s.Loss:R} {s.Aux:R} {s.LearningRate:R} {s.GradNorm:R} {s.Tokens} {string.Join(',', s.Load)}");

    public void Start(int afterStep, int totalSteps) => Calls.Add($"start {afterStep}/{totalSteps}");

    public void Write(StepReport report)
    {
        Calls.Add($"step {report.Step}");
        Steps.Add(report);
        after?.Invoke(report);
    }

    public void Write(EvaluationReport report)
    {
        Calls.Add($"eval {report.Step}");
        Evaluations.Add(report);
    }

    public void Flush() => Calls.Add("flush");

    public void Dispose() => Calls.Add("dispose");
}

/// <summary>What another trains, with parts of it replaced.</summary>
public sealed class Changed(ITrainable inner) : ITrainable
{
    private int _step;

    /// <summary>Stands for the inner one's auxiliary loss.</summary>
    public Func<Tensor?>? Auxiliary { get; init; }

    /// <summary>Called after each applied step with its index.</summary>
    public Action<int>? Applied { get; init; }

    /// <summary>Number of steps done to the evaluation loss that is reported.</summary>
    public Func<int, double>? EvalLoss { get; init; }

    /// <summary>Called before the model of a checkpoint is written.</summary>
    public Action? Saving { get; init; }

    public CausalLanguageModel Model => inner.Model;

    public IReadOnlyList<(string Name, Parameter Parameter)> Parameters => inner.Parameters;

    public IReadOnlyList<MixtureProjection> Modules => inner.Modules;

    public int Passes => inner.Passes;

    public Tensor? AuxiliaryLoss(ForwardPass pass, Tensor? mask) =>
        Auxiliary is null ? inner.AuxiliaryLoss(pass, mask) : Auxiliary();

    public void AfterPass(ForwardPass pass, Tensor? mask, Func<Tensor> rowLosses) =>
        inner.AfterPass(pass, mask, rowLosses);

    public void AfterMicroBatch() => inner.AfterMicroBatch();

    /// <summary>Stands for what the inner one does to gradients.</summary>
    public Action? Gradients { get; init; }

    public void AfterGradients()
    {
        if (Gradients is null)
            inner.AfterGradients();
        else
            Gradients();
    }

    public void AfterStep(int step, bool isApplied)
    {
        inner.AfterStep(step, isApplied);
        if (isApplied)
            Applied?.Invoke(step);
        _step = step + 1;
    }

    public IReadOnlyList<double> ExpertLoad(ForwardPass pass, Tensor? mask) => inner.ExpertLoad(pass, mask);

    public IReadOnlyList<RoutingStatistics> Statistics(ForwardPass pass, Tensor? mask) => inner.Statistics(pass, mask);

    /// <summary>Called before each evaluation.</summary>
    public Action? Evaluating { get; init; }

    public IReadOnlyDictionary<string, double>? Evaluate(
        TrainingData data, int batchSize, Device device, StopRequest stop, ICommunicator ranks)
    {
        Evaluating?.Invoke();
        return EvalLoss is null
            ? inner.Evaluate(data, batchSize, device, stop, ranks)
            : new Dictionary<string, double> { ["eval_loss"] = EvalLoss(_step) };
    }

    public void SaveExactly(string directory)
    {
        Saving?.Invoke();
        inner.SaveExactly(directory);
    }

    public void SaveResult(string directory) => inner.SaveResult(directory);

    public void Restore(string directory) => inner.Restore(directory);

    public void Dispose() => inner.Dispose();
}
