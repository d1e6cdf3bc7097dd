using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Training.Metrics;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

/// <summary>What a stage of a continual training does to gradients (SAME).</summary>
public sealed class ContinualTrainableTests : IDisposable
{
    private static readonly ContinualOptions Same = new() { Kind = ContinualOptions.Same, Tau = 1, Rows = 8 };

    private readonly TinyTraining _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void The_first_stage_shapes_routers_alone_and_the_next_one_A_too_and_freezes_experts()
    {
        using var scope = torch.NewDisposeScope();
        using var first = Stage(null);
        first.SaveResult(_tiny.Folder["first"]);
        using var next = Stage(_tiny.Folder["first"]);
        foreach (var stage in new[] { first, next })
        {
            foreach (var (_, parameter) in stage.Parameters)
                parameter.grad = torch.ones_like(parameter);
            stage.AfterGradients();
        }

        Assert.Empty(first.Frozen);
        Assert.Equal(next.Modules.Select(module => module.Path), next.Frozen.Select(entry => entry.Path));
        Assert.All(next.Frozen, entry => Assert.Equal([0, 2, 3], entry.Experts)); // 1 is the second stage's own
        foreach (var (before, after) in first.Modules.Zip(next.Modules))
        {
            Assert.True(before.Down.grad!.eq(1).all().item<bool>());
            Assert.True(before.Up.grad!.eq(1).all().item<bool>());
            Assert.True(before.Router!.parameters().Single().grad!.ne(1).any().item<bool>());
            Assert.True(after.Router!.parameters().Single().grad!.ne(1).any().item<bool>());
            for (var expert = 0; expert < 4; expert++)
            {
                var (down, up) = (after.Down.grad!.narrow(0, expert * 2, 2), after.Up.grad!.narrow(1, expert * 2, 2));
                Assert.True(up.eq(expert == 1 ? 1 : 0).all().item<bool>());
                Assert.Equal(expert != 1, down.eq(0).all().item<bool>());
                Assert.True(down.ne(1).any().item<bool>());
            }
        }
    }

    [Fact]
    public void Gradients_are_changed_once_a_step_before_they_are_clipped()
    {
        var (steps, calls) = (new List<StepReport>(), 0);
        var run = _tiny.Build(TinyTraining.Options with { GradientAccumulationSteps = 2, MaxSteps = 3 },
            TinyTraining.Lora);
        var before = TinyTraining.Bytes(run);
        run = run with
        {
            Trainable = new Changed(run.Trainable)
            {
                Gradients = () =>
                {
                    calls++;
                    foreach (var (_, parameter) in run.Trainable.Parameters)
                        parameter.grad?.zero_();
                },
            },
            Options = run.Options with { WeightDecay = 0 },
            Sinks = [new RecordingSink(steps.Add)],
        };

        new TrainingLoop(run).Run(new StopRequest());

        Assert.Equal(3, calls);
        Assert.All(steps, step => Assert.Equal(0, step.GradNorm));
        Assert.Equal(before.Keys, TinyTraining.Bytes(run).Keys);
    }

    [Fact]
    public void A_stage_leaves_no_tensor()
    {
        using (var warm = Stage(null))
            warm.SaveResult(_tiny.Folder["first"]);
        var before = LiveTensors.Settled();

        using (var next = Stage(_tiny.Folder["first"]))
            next.SaveResult(_tiny.Folder["next"]);

        LiveTensors.AssertNoMoreThan(before);
    }

    private ContinualTrainable Stage(string? from)
    {
        var model = Models.ModelLoader.Create(
            Formats.HuggingFace.ModelConfigFile.Read(_tiny.Folder.Path), ScalarType.Float32, 3);
        var contents = new BundleContents
        {
            Adapted = AdapterAttachment.Attach(model, TinyTraining.Mixture, 1), Base = new BaseIdentity("tiny", "0"),
        };
        using var scope = torch.NewDisposeScope();
        return ContinualTrainable.Of(
            contents, Same, from is null ? null : ContinualFile.Read(from, contents.Adapted), _tiny.Open(), 4,
            torch.CPU);
    }
}
