using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Evaluation.Results;
using Peft.Evaluation.Routing;
using Peft.Evaluation.Scoring;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Evaluation.Tests;

public sealed class EvaluationRunTests : IDisposable
{
    private static readonly ResultsSettings Settings = new(7, 4, "float32", 50, 0.95, "holm");

    private readonly TinyEvaluation _tiny = new();
    private readonly IReadOnlyList<TaskData> _tasks;

    public EvaluationRunTests() => _tasks = [_tiny.Choices("c", 13), _tiny.Generated("g", 9)];

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void Results_and_examples_are_written_and_the_journal_goes()
    {
        var results = Run("out")!;
        Assert.Equal(
            ["examples.parquet", "results.json"],
            Directory.GetFiles(_tiny.Folder["out"]).Select(Path.GetFileName).Order());
        Assert.Equal(["base", "other"], results.Subjects.Select(subject => subject.Name));
        Assert.Equal([("c", 13), ("g", 9)], results.Tasks.Select(task => (task.Name, task.Rows)));
        Assert.Equal(2 * 4, results.Scores.Count);
        Assert.Equal(4, results.Comparisons.Count);
        Assert.All(
            results.Scores, score => Assert.InRange(score.Value, score.Low!.Value - 1e-12, score.High!.Value + 1e-12));
        Assert.Equal(results.Scores, ResultsFile.Load(_tiny.Folder["out"]).Scores);

        var rows = Examples("out");
        Assert.Equal(2 * (13 + 9), rows.Count);
        var acc = rows.Where(row => row is { Subject: "other", Task: "c" }).Average(row => row.Score!.Value);
        Assert.Equal(results.ScoreOf("other", "c", "acc")!.Value, acc, 1e-9);
        Assert.Equal(
            _tasks[1].Rows[4].Prompt, rows.Single(row => row is { Subject: "base", Task: "g", Row: 5 }).Prompt);
        Assert.All(rows, row => Assert.Equal(row.Task == "c", row.LogLikelihoods!.Count > 0));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(6, 6)]
    [InlineData(12, 11)] // asked once more between the subjects
    public void An_interrupted_evaluation_goes_on_with_the_same_numbers(int asked, int batches)
    {
        var whole = Run("whole")!;
        var left = asked;
        Assert.Null(Run("out", () => left-- == 0));
        Assert.Equal(batches, File.ReadLines(_tiny.Folder["out/journal.jsonl"]).Count() - 1);
        // As a process that is killed leaves it: half a line more.
        File.AppendAllText(_tiny.Folder["out/journal.jsonl"], """{"subject":"other","task":"g","ba""");

        var computed = -1L;
        var resumed = Run("out", progress: at => computed = at.Computed)!;
        Assert.Equal(2 * (13 + 9) - Math.Min(2 * (13 + 9), Rows(batches)), computed);
        Assert.Equal(whole.Scores, resumed.Scores);
        Assert.Equal(whole.Comparisons, resumed.Comparisons);
        Assert.Equivalent(Examples("whole"), Examples("out"), strict: true);
    }

    [Fact]
    public void Another_evaluations_journal_is_not_gone_on_with()
    {
        var left = 2;
        Run("out", () => left-- == 0);
        var error = Assert.Throws<UserException>(
            () => New(Settings with { BatchSize = 5 }).Run(_tiny.Folder["out"], "1", DateTimeOffset.UnixEpoch));
        Assert.Equal(
            $"{_tiny.Folder["out"]}: holds an interrupted evaluation of other adapters, tasks or settings. Repeat its "
                + "command to finish it, replace it with "
            + "--overwrite, or choose another directory with --output.", error.Message);
    }

    [Fact]
    public void The_expert_by_task_matrix_of_a_hard_routed_adapter_is_the_identity()
    {
        var options = new AdapterOptions
        {
            Method = "mixture", R = 2, Experts = new ExpertOptions { Count = 2 }, Router = new HardSoftRouterOptions
            {
                Stage = HardSoftRouterOptions.Hard,
            },
            TargetModules = ModuleNames.List(["q_proj", "v_proj"]),
        };
        var results = new EvaluationRun(
            [new(Described("hard"), () => Adapted(options), task => task == "c" ? 0 : 1)], _tasks, _tiny.Tokenizer,
            new("tiny", "f"), Settings)
            .Run(Directory.CreateDirectory(_tiny.Folder["hard"]).FullName, "1", DateTimeOffset.UnixEpoch)!;

        var routing = Assert.Single(results.Routing);
        Assert.Equal([[1.0, 0.0], [0.0, 1.0]], routing.ExpertByTask!.Matrix);
        Assert.Equal(Math.Log(2), routing.ExpertByTask.MutualInformation, 1e-9);
        Assert.Equal([[0.0, 1.0], [1.0, 0.0]], routing.TaskDistance!.Select(row => row.Select(d => Math.Round(d, 9))));
        Assert.All(routing.Modules, module => Assert.Equal(1, module.TaskInformation!.Value, 1e-9));
        Assert.All(routing.Srp!.SizeRatios, ratio => Assert.Equal(1, ratio, 1e-9));
        Assert.Equal(4, routing.Modules.Count);
        Assert.All(
            routing.Modules,
            module => Assert.Equal(
                (1.0, 1.0, null), (
                    module.ExpertsPerToken, Math.Round(module.EffectiveSupportSize, 6), module.Entropy)));
        Assert.Equal([0, 0, 1, 1], routing.Modules.Select(module => module.Layer));
        // One expert a sequence: any segment of it is served by fixing that one.
        Assert.All(routing.Srp!.Values, value => Assert.Equal(1, value, 1e-9));
    }

    public static TheoryData<string> SoftRouters => ["top-k", "comol"];

    [Theory]
    [MemberData(nameof(SoftRouters))]
    public void A_soft_routers_diagnostics_are_those_of_the_records_of_a_plain_pass(string kind)
    {
        var options = new AdapterOptions
        {
            Method =
                "mixture", R = 2, Experts = new ExpertOptions { Count = 3 },
            Router = kind == "comol" ? new ComolRouterOptions { TopK = 2 } : new TopKRouterOptions { TopK = 2 },
            TargetModules = ModuleNames.List(["o_proj"]),
        };
        using var opened = Adapted(options);
        var one = _tasks[0] with { Rows = [_tasks[0].Rows[1]] };
        var evaluator = new TaskEvaluator(opened.Model, _tiny.Tokenizer, 2);
        var routing = RoutingProbe.Measure("s", opened.Adapted!, evaluator, [one], _ => null, 4)!;

        using var scope = torch.NewDisposeScope();
        var text = one.Rows[0].Prompt + one.Rows[0].Choices[one.Rows[0].Gold];
        long[] ids = [.. _tiny.Tokenizer.EncodeToIds(text).Select(id => (long)id)];
        var pass = ForwardPass.ForInference();
        opened.Model.Hidden(torch.tensor(ids[..^1], [1, ids.Length - 1]), pass);
        foreach (var (expected, module) in RoutingStatistics.Of(pass, null).Zip(routing.Modules))
        {
            Assert.Equal(expected.Module, module.Name);
            Assert.All(expected.Load.Zip(module.Load), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
            Assert.All(
                expected.MeanProbability.Zip(module.MeanProbability),
                pair => Assert.Equal(pair.First, pair.Second, 1e-5));
            Assert.Equal(expected.Entropy!.Value, module.Entropy!.Value, 1e-5);
            Assert.Equal(expected.EffectiveSupport, module.EffectiveSupportSize, 1e-5);
            Assert.Equal(
                (expected.ExpertsPerToken, expected.DeadExperts), (module.ExpertsPerToken, module.DeadExperts));
        }
        Assert.Null(routing.ExpertByTask);
        Assert.Null(routing.TaskDistance);
        Assert.All(routing.Modules, module => Assert.Null(module.TaskInformation));
        Assert.Equal(3, routing.Similarity!.Count);
    }

    [Fact]
    public void Experts_of_a_pool_are_all_compared_and_one_that_was_never_trained_only_where_it_was()
    {
        var options = new AdapterOptions
        {
            Method = "mixture", R = 2, Experts = new ExpertOptions { Count = 2 }, Router = new RexmoeRouterOptions(),
            TargetModules = ModuleNames.List(["q_proj", "o_proj"]),
        };
        using var opened = Adapted(options);
        using (torch.no_grad())
        {
            foreach (var module in opened.Adapted!.Modules)
                module.Up.copy_(torch.ones_like(module.Up));
            // Expert 1 of the first layer's q_proj, the second of its pool.
            opened.Adapted.Modules.First(module => module.Path.EndsWith("q_proj", StringComparison.Ordinal))
                .UpOf(1).zero_();
        }
        var evaluator = new TaskEvaluator(opened.Model, _tiny.Tokenizer, 2);

        var routing = RoutingProbe.Measure("s", opened.Adapted!, evaluator, _tasks, _ => null, 4)!;

        Assert.All(routing.Modules, module => Assert.Equal(4, module.Load.Count));
        Assert.Equal(4, routing.Similarity!.Count);
        Assert.All(
            Enumerable.Range(0, 4), expert => Assert.Equal(1, routing.Similarity[expert][expert], 1e-6));
        Assert.NotEqual(0, routing.Similarity[0][1]);
    }

    [Fact]
    public void Layers_are_known_whatever_a_family_calls_its_blocks()
    {
        Directory.CreateDirectory(_tiny.Folder["gpt"]);
        File.WriteAllText(_tiny.Folder["gpt/config.json"], """
            {"model_type": "gpt2", "vocab_size": 32, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64,
             "eos_token_id": 2}
            """);
        using var model = ModelLoader.Create(
            ModelConfigFile.Read(_tiny.Folder["gpt"]), ScalarType.Float32, 1);
        var adapted = AdapterAttachment.Attach(
            model, new AdapterOptions
            {
                Method = "mixture", R = 2, Experts = new ExpertOptions { Count = 3 }, Router = new TopKRouterOptions(),
                TargetModules = ModuleNames.List(["c_fc"]),
            }, 5);

        var routing = RoutingProbe.Measure(
            "s", adapted, new TaskEvaluator(model, _tiny.Tokenizer, 2), _tasks, _ => null, 4)!;

        Assert.Equal(
            [("transformer.h.0.mlp.c_fc", 0), ("transformer.h.1.mlp.c_fc", 1)],
            routing.Modules.Select(module => (module.Name, module.Layer)));
    }

    [Theory]
    [InlineData("c.acc=0.5", "c", "acc", 0.5)]
    [InlineData("a.b.token_error_rate=1e-1", "a.b", "token_error_rate", 0.1)]
    public void A_gate_is_read(string text, string task, string metric, double bound) =>
        Assert.Equal(new QualityGate(task, metric, bound), QualityGate.Parse(text));

    [Theory]
    [InlineData("acc=0.5")]
    [InlineData("c.acc")]
    [InlineData("c.acc=high")]
    [InlineData(".acc=1")]
    [InlineData("c.=1")]
    public void A_gate_of_another_form_is_refused(string text) => Assert.Equal(
        $"--fail-under: '{text}'; expected TASK.METRIC=NUMBER. Write for example --fail-under sst2.accuracy=0.8.",
        Assert.Throws<UserException>(() => QualityGate.Parse(text)).Message);

    [Fact]
    public void A_gate_fails_on_the_worse_side_and_knows_what_is_measured()
    {
        var results = Run("out")! with
        {
            Subjects = [Described("base") with { Kind = Subject.BaseKind }, Described("other")],
        };
        double Value(string task, string metric) => results.ScoreOf("other", task, metric)!.Value;
        Assert.Empty(new QualityGate("c", "acc", Value("c", "acc")).Failures(results));
        Assert.Single(new QualityGate("c", "acc", Value("c", "acc") + 0.01).Failures(results));
        Assert.Empty(new QualityGate("g", "token_error_rate", Value("g", "token_error_rate")).Failures(results));
        var failure = new QualityGate("g", "token_error_rate", 0.001).Failures(results).Single();
        Assert.Matches(@"^other: g\.token_error_rate is \d\.\d{4}, above the bound 0\.001$", failure);
        Assert.Equal(
            "--fail-under: c.ac is not measured; expected c.acc, c.acc_norm, g.token_error_rate or g.exact_match. Did "
                + "you mean c.acc?",
            Assert.Throws<UserException>(() => new QualityGate("c", "ac", 1).Check(New(Settings).Metrics)).Message);
    }

    private EvaluationRun New(
        ResultsSettings settings, Func<bool>? isStopped = null, Action<EvaluationProgress>? progress = null) => new(
        [
            new(
                Described("base") with { Kind = Subject.BaseKind }, () => new OpenedSubject(_tiny.NewModel(), null),
                _ => null),
            new(Described("other"), () => new OpenedSubject(_tiny.NewModel(12), null), _ => null),
        ],
        _tasks, _tiny.Tokenizer, new("tiny", "f"), settings)
        {
            IsStopped = isStopped ?? (() => false),
            Progress = progress ?? (_ => { }),
        };

    private ResultsDocument? Run(
        string folder, Func<bool>? isStopped = null, Action<EvaluationProgress>? progress = null) =>
        New(Settings, isStopped, progress)
            .Run(Directory.CreateDirectory(_tiny.Folder[folder]).FullName, "1", DateTimeOffset.UnixEpoch);

    // Batches of 4: 13 rows are 4 of them, 9 rows 3.
    private static int Rows(int batches)
    {
        int[] sizes = [4, 4, 4, 1, 4, 4, 1];
        return Enumerable.Range(0, batches).Sum(i => sizes[i % sizes.Length]);
    }

    private static Subject Described(string name) =>
        new(name, Subject.AdapterKind, name, null, null, name, 0, null, null, 0, null, null);

    private OpenedSubject Adapted(AdapterOptions options)
    {
        var model = _tiny.NewModel();
        return new(model, AdapterAttachment.Attach(model, options, 5));
    }

    private IReadOnlyList<ExampleRow> Examples(string folder) =>
        ExampleRow.Of(_tiny.Folder[$"{folder}/examples.parquet"]).GetAwaiter().GetResult();
}
