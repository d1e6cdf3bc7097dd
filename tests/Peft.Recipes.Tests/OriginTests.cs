using Peft.Adapters.Bundles;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests;

/// <summary>What a run goes on from: adapters, tokenizer and base, before it and when it is resumed.</summary>
public sealed class OriginTests : IDisposable
{
    private readonly TinyProject _project = new();

    private TempFolder Folder => _project.Folder;

    public void Dispose() => _project.Dispose();

    [Theory]
    [InlineData("adapter.from=one", "one")]
    [InlineData("adapter.from=one/checkpoint-3", "one")]
    [InlineData("adapter.experts.from=[one]", "one")]
    public void A_directory_that_is_read_from_is_not_written(string origin, string output)
    {
        _project.Train(_project.Load(TinyProject.Mixture), "one");
        var recipe = _project.Load(TinyProject.Mixture, origin);
        var directory = OutputDirectory.Decide(Folder[output], null, overwrite: true);

        var error = Assert.Throws<UserException>(() => RunBuilder.Build(recipe, directory, torch.CPU, []));

        var read = Folder[origin.Split('=')[1].Trim('[', ']')];
        Assert.Equal(
            $"{Folder[output]}: {read} is read from there. Choose another directory with --output.", error.Message);
        OwnBundle.Open(Folder["one"]);
    }

    [Fact]
    public void An_adapter_goes_with_the_tokenizer_that_its_recipe_names()
    {
        MoveTokenizer();
        var recipe = _project.Load(TinyProject.Mixture, "model.tokenizer=tok");
        _project.Train(recipe, "out");

        using (var loaded = LoadedModel.Open(Folder["base"], Folder["out"], "float32", torch.CPU))
            Assert.Equal(Folder["tok"], loaded.TokenizerDirectory);
        Directory.Move(Folder["tok"], Folder["gone"]);
        Assert.Equal(
            $"{Folder["out"]}: trained with tokenizer 'tok', which is not here; expected the same tokenizer. Put it "
                + $"there, or name another place as model.tokenizer in {Folder["out/recipe.resolved.yaml"]}.",
            Assert.Throws<UserException>(
                () => LoadedModel.Open(Folder["base"], Folder["out"], "float32", torch.CPU)).Message);
    }

    [Fact]
    public void Another_base_or_tokenizer_does_not_continue_a_checkpoint()
    {
        MoveTokenizer();
        var recipe = _project.Load(TinyProject.Mixture, "model.tokenizer=tok");
        _project.Train(recipe, "out", stopAfter: 2);
        var tokenizer = Folder["tok/tokenizer.json"];
        var text = File.ReadAllText(tokenizer);

        File.WriteAllText(tokenizer, text + "\n");
        Assert.Equal(
            $"{Folder["out/checkpoint-2"]}: written with another tokenizer than is there now; expected the same files. "
                + "Put those back, or train again with --overwrite.",
            Assert.Throws<UserException>(() => _project.Train(recipe, "out", resume: "auto")).Message);
        File.WriteAllText(tokenizer, text);
        var config = ModelConfigFile.Read(Folder["base"]);
        using (var model = ModelLoader.Create(config, ScalarType.Float32, 4))
            ModelSaver.Save(Folder["base"], model, config.Map, ScalarType.Float32);
        Assert.StartsWith(
            $"--resume: {Folder["out/checkpoint-2"]}, trained on base (fingerprint ",
            Assert.Throws<UserException>(() => _project.Train(recipe, "out", resume: "auto")).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Other_settings_of_a_router_are_told_and_those_that_make_its_scale_are_refused()
    {
        _project.Train(_project.Load(TinyProject.Mixture), "one");
        Assert.Equal(
            ["adapter.router.top_k is 1; one was trained with 2"],
            RunBuilder.RemarksOf(_project.Load(TinyProject.Mixture, "adapter.from=one", "adapter.router.top_k=1"))
                .Select(remark => remark.Replace(Folder["one"], "one", StringComparison.Ordinal)));
        const string Rloo = "adapter.router={kind: rloo, top_k: 2}";
        _project.Train(_project.Load(TinyProject.Mixture, Rloo), "rloo");

        var error = Assert.Throws<FaultsException>(() => _project.Build(_project.Load(
            TinyProject.Mixture, Rloo, "adapter.from=rloo", "adapter.router.weight=lora")));

        Assert.Contains(
            "  adapter.router.weight  lora; expected rslora, as adapter.from ", error.Message,
            StringComparison.Ordinal);
        Assert.Contains(
            $"Its settings are in {Folder["rloo/recipe.resolved.yaml"]}.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_tasks_that_experts_go_by_are_kept_in_their_order()
    {
        const string Two = "data.train=[{name: A, files: rows.jsonl, template: {prompt: '{p} =', answer: ' {a}'}}, "
            + "{name: B, files: rows.jsonl, template: {prompt: '{p} +', answer: ' {a}'}}]";
        string[] settings =
            ["adapter.router={kind: post-moe, task_experts: [0, 1]}", "data.eval=[]", "evaluation={tasks: []}"];
        _project.Train(_project.Load(TinyProject.Mixture, [Two, .. settings]), "one");
        var other = Two.Replace("name: A", "name: C", StringComparison.Ordinal);

        var error = Assert.Throws<UserException>(() => _project.Build(
            _project.Load(TinyProject.Mixture, [other, .. settings, "adapter.from=one"]), "two"));

        Assert.Equal(["A", "B"], OwnBundle.Open(Folder["one"]).Manifest.Tasks);
        Assert.StartsWith(
            "data.train: tasks C and B; expected first A and B, in this order, which the experts of ", error.Message,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[{task: copy, metric: char_error_rate}, {task: copy, metric: exact_match}]",
        "evaluation.tasks[1].task  'copy' a second time; expected each task once, with one metric.")]
    [InlineData("[{task: copy, metric: exact_match, max_new_tokens: 32}]",
        "evaluation.tasks[0].max_new_tokens  32; expected at most 31, so that a prompt fits beside them into "
            + "data.max_length 32.")]
    public void Tasks_that_could_not_be_measured_are_refused_before_training(string tasks, string fault)
    {
        var error = Assert.Throws<FaultsException>(() => _project.Build(
            _project.Load(TinyProject.Mixture, $"evaluation.tasks={tasks}")));

        Assert.Contains(fault, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_result_is_never_called_as_the_base_is()
    {
        using var run = _project.Build(_project.Load(TinyProject.Mixture), "x/base");
        Assert.Equal(Folder["x/base"], run.ResultName);
    }

    [Fact]
    public void A_gate_learns_by_its_own_number_of_steps_and_nothing_else()
    {
        const string Lora = "adapter={r: 2, target_modules: [q_proj, v_proj]}";
        _project.Train(_project.Load(
            TinyProject.Mixture, Lora, "training.warmup_steps=500", "training.loraplus_lr_ratio=4"), "lora");

        var own = GateTraining.RecipeOf(Folder["lora"], null, null, []);
        var named = GateTraining.RecipeOf(
            Folder["lora"], Folder.Write("same.yaml", TinyProject.Mixture.Replace(
                "training:\n", "training:\n  continual: {kind: same}\n", StringComparison.Ordinal)), null, []);

        Assert.Equal((0, null), (own.Training.WarmupSteps, own.Training.LoraplusLrRatio));
        Assert.False(named.Training.Continual.IsOn);
        Assert.Equal((null, 1), (named.AdapterFrom, named.ExpertsFrom.Count));
    }

    [Fact]
    public void A_model_that_is_trained_anew_leaves_none_of_the_one_before()
    {
        var recipe = _project.Load(TinyProject.Full);
        _project.Train(recipe, "out");

        OutputDirectory.Decide(Folder["out"], null, overwrite: true).Prepare().Dispose();

        Assert.False(File.Exists(Folder["out/model.safetensors"]));
    }

    private void MoveTokenizer()
    {
        Directory.CreateDirectory(Folder["tok"]);
        foreach (var name in (string[])["tokenizer.json", "tokenizer_config.json"])
        {
            if (File.Exists(Folder[$"base/{name}"]))
                File.Move(Folder[$"base/{name}"], Folder[$"tok/{name}"]);
        }
    }
}
