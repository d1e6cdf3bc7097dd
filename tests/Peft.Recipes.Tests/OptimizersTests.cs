using System.Text.Json;
using Peft.Adapters.Bundles;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Formats.Safetensors;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Recipes.Tests.Support;
using Peft.Training;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;

namespace Peft.Recipes.Tests;

public sealed class OptimizersTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>
    /// Ten AdamW losses of Hugging Face PEFT, through the real loop, loss and optimizer. The learning rate is so high
    /// for this
    /// model that rounding alone moves the last losses: the first six are held to 1e-4, the rest to 1e-2.
    /// </summary>
    [Fact]
    public void The_loop_and_its_optimizer_follow_pefts_adamw_trace()
    {
        var golden = Path.Combine(SharedAssets.Repository, "tests", "golden", "models", "llama-gqa");
        using var document = JsonDocument.Parse(File.ReadAllText(Path.Combine(golden, "expected.json")));
        var trace = document.RootElement.GetProperty("adamw_trace");
        var expected = trace.GetProperty("losses").EnumerateArray().Select(loss => loss.GetDouble()).ToList();
        var options = new TrainingOptions
        {
            PerDeviceTrainBatchSize = 2, Seed = 1, MaxSteps = expected.Count, LrSchedulerType = "constant",
            MaxGradNorm = 0, SaveSteps = 0,
            LearningRate = trace.GetProperty("lr").GetDouble(),
            WeightDecay = trace.GetProperty("weight_decay").GetDouble(),
            AdamBeta1 = trace.GetProperty("betas")[0].GetDouble(),
            AdamBeta2 = trace.GetProperty("betas")[1].GetDouble(),
            AdamEpsilon = trace.GetProperty("eps").GetDouble(),
        };
        using var data = GoldenRows(golden);
        using var model = ModelLoader.Load(golden, ScalarType.Float32, torch.CPU);
        var adapted = Bundle.Open(Path.Combine(golden, "adapter")).Attach(model);
        var sink = new Losses();
        var trainable = new AdapterTrainable(
            new BundleContents { Adapted = adapted, Base = new BaseIdentity("golden", "0") });
        var run = TrainingRun.Of(trainable, data, options, _folder["out"], torch.CPU, "") with { Sinks = [sink] };
        using var optimizer = run.Optimizer;

        new TrainingLoop(run).Run(new StopRequest());

        var distances = expected.Zip(sink.Values, (a, b) => Math.Abs(a - b)).ToList();
        Assert.Equal(10, distances.Count);
        Assert.True(distances.Take(6).Max() <= 1e-4, string.Join(", ", distances));
        Assert.True(distances.Max() <= 1e-2, string.Join(", ", distances));
    }

    [Theory]
    [InlineData("adamw")]
    [InlineData("sgd")]
    public void Vectors_are_never_decayed(string optim)
    {
        var options = new TrainingOptions { Optim = optim, LearningRate = 0.1, WeightDecay = 0.5 };
        using var matrix = torch.ones([2, 2]).ToParameter();
        using var vector = torch.ones([2]).ToParameter();
        using var optimizer = options.NewOptimizer([("norm", vector), ("linear", matrix)]);
        using (torch.NewDisposeScope())
            ((matrix * 0).sum() + (vector * 0).sum()).backward();

        optimizer.step();

        Assert.All(vector.detach().data<float>().ToArray(), value => Assert.Equal(1, value));
        Assert.All(matrix.detach().data<float>().ToArray(), value => Assert.Equal(0.95, value, 1e-6)); // 1 - lr * decay
        Assert.Equal(["linear", "norm"], optimizer.StepCounts.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Sgd_has_a_momentum_buffer_only_with_momentum()
    {
        using var matrix = torch.ones([2, 2]).ToParameter();
        using var plain = new TrainingOptions { Optim = "sgd" }.NewOptimizer([("w", matrix)]);
        using var heavy = new TrainingOptions { Optim = "sgd", Momentum = 0.9 }.NewOptimizer([("w", matrix)]);
        using var scope = torch.NewDisposeScope();
        Assert.Equal(["step.w"], plain.StateDict().Keys);
        Assert.Equal(["momentum_buffer.w", "step.w"], heavy.StateDict().Keys);
    }

    // The golden batch as two rows of text; every token but the first is learned.
    private TrainingData GoldenRows(string golden)
    {
        var file = SafetensorsFile.Open(Path.Combine(golden, "expected.safetensors"));
        var entry = file.Entries["ids"];
        var ids = Enumerable.Range(0,
            (int)(entry.ByteCount / 8)).Select(i => BitConverter.ToInt64(file.ReadBytes("ids"), i * 8));
        var rows = ids.Chunk((int)entry.Shape[1]).Select(row => $"{{\"t\": \"{string.Join(' ', row)}\"}}");
        File.WriteAllLines(_folder["rows.jsonl"], rows);
        var set = new DataSetOptions
        {
            Name = "rows", Files = [_folder["rows.jsonl"]],
            Answer = TextTemplate.Parse("{t}")
        };
        return TrainingData.Open(
            new DataOptions { Train = [set], MaxLength = (int)entry.Shape[1], AddEos = false },
            TextEncoder.Of(NumberTokenizer.Of(96)),
            _folder.Path);
    }

    private sealed class Losses : IMetricSink
    {
        public List<double> Values { get; } = [];

        public void Start(int afterStep, int totalSteps)
        {
        }

        public void Write(StepReport report) => Values.Add(report.Loss);

        public void Write(EvaluationReport report)
        {
        }

        public void Flush()
        {
        }

        public void Dispose()
        {
        }
    }
}
