using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests;

public sealed class RecipeTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Every_section_is_read()
    {
        var recipe = Load(TinyProject.Mixture);

        Assert.Equal(("r", Recipe.Adapter, "base", "adapters/r"),
            (recipe.Name, recipe.Method, recipe.Model.Directory, recipe.OutputDir));
        Assert.Equal((2, 4, 0.1),
            (recipe.AdapterOptions!.R, recipe.AdapterOptions.Experts.Count, recipe.AdapterOptions.LoraDropout));
        Assert.Equal(2, Assert.IsType<TopKRouterOptions>(recipe.AdapterOptions.Router).TopK);
        Assert.Equal(("copy", 32, 8, "copy"),
            (recipe.Data.Train[0].Name, recipe.Data.MaxLength, recipe.Training.MaxSteps,
            recipe.Evaluation.Tasks[0].Name));
        Assert.Empty(recipe.ExpertsFrom);
    }

    [Fact]
    public void Method_full_trains_all_parameters_and_has_no_adapter()
    {
        var recipe = Load(TinyProject.Full);
        Assert.Null(recipe.AdapterOptions);
        Assert.Equal(("base", "base", "float32", "float32"),
            (recipe.Model.FromConfig, recipe.Model.TokenizerDirectory, recipe.Model.Dtype, recipe.Model.SaveDtype));
    }

    [Fact]
    public void All_faults_of_a_recipe_are_told_at_once()
    {
        var error = Assert.Throws<FaultsException>(() => Load(
            """
            modell:
              model_name_or_path: base
            adapter:
              method: mixture
              r: eight
              experts: {count: 2}
              learning_rate: 1e-3
              router:
                kind: topk
            data:
              max_length: 1
              train:
                - {files: rows.jsonl, template: {prompt: "{p}"}}
            training:
              max_steps: -5
              max_step: 5
              seed: 1
            evaluation:
              tasks: [{task: copy}]
            """));

        Assert.Equal(
            $$"""
            {{_folder["r.yaml"]}} has 10 faults:
              line 1  modell                     unknown key. Did you mean model?
              line 5  adapter.r                  'eight'; expected a whole number from 1 to 65536.
              line 7  adapter.learning_rate      unknown key. It belongs at training.learning_rate: move it there.
              line 9  adapter.router.kind        'topk'; expected {{Words.OneOf([.. RouterCatalog.Names])}}. Did you mean top-k?
              line 11  data.max_length           1; expected a whole number from 2 to 1048576.
              line 15  training.max_steps        -5; expected a whole number of at least 0.
              line 16  training.max_step         unknown key. Did you mean max_steps?
              line 19  evaluation.tasks[0].task  'copy'; expected the task of a data set under data.eval. Add the data set: data.eval is empty.
              data.train[0].template             prompt; expected prompt and answer, or text alone. For example {prompt: "{question}", answer: " {answer}"}.
              model.model_name_or_path           missing; expected the directory of a model in Hugging Face layout, such as data/base.
            """, error.Message);
    }

    [Fact]
    public void A_router_cannot_choose_more_experts_than_there_are() => Assert.Equal(
        "the command line has 1 fault:\n  --set adapter.router.top_k=5  5; expected a whole number from 1 to 4.",
        Assert.Throws<FaultsException>(() => Load(TinyProject.Mixture, "adapter.router.top_k=5")).Message);

    [Fact]
    public void An_adapter_section_contradicts_method_full() => Assert.Equal(
        $"{_folder["r.yaml"]} has 1 fault:\n  line 15  adapter  given with method: full; expected no adapter section. "
        + $"Remove it, or write method: adapter.",
        Assert.Throws<FaultsException>(() => Load(TinyProject.Full + "adapter:\n  r: 8\n")).Message);

    [Fact]
    public void Another_kind_of_router_over_the_keys_of_the_one_before_says_how() => Assert.Equal(
        "the command line has 1 fault:\n  --set adapter.router.kind=soft  leaves top_k of the kind before it. "
        + "Replace the whole section: --set adapter.router='{kind: soft}'.",
        Assert.Throws<FaultsException>(() => Load(TinyProject.Mixture, "adapter.router.kind=soft")).Message);

    [Fact]
    public void Another_kind_of_router_in_place_of_the_whole_section_is_taken() =>
        Assert.Equal("soft", Load(TinyProject.Mixture, "adapter.router={kind: soft}").AdapterOptions!.Router!.Kind);

    [Theory]
    [InlineData("method=lora", "'lora'; expected adapter or full.")]
    [InlineData("model=5", "5; expected a section of keys.")]
    [InlineData("model.from_config=base", "no effect with method: adapter. Remove it, or write method: full.")]
    [InlineData("model.save_dtype=float32", "no effect with method: adapter. Remove it, or write method: full.")]
    [InlineData("model.dtype=int8", "'int8'; expected auto, float32, bfloat16, float16 or float64.")]
    [InlineData("training=[1]", "a list of 1 item; expected a section of keys.")]
    [InlineData("data.train=rows.jsonl", "'rows.jsonl'; expected a list of sections.")]
    [InlineData("extends=x", "unknown key;")]
    public void A_wrong_value_is_a_fault_at_its_key(string setting, string fault)
    {
        var error = Assert.Throws<FaultsException>(() => Load(TinyProject.Mixture, setting));
        Assert.Contains(error.Items,
            item => item.ToString().StartsWith($"--set {setting}: {fault}", StringComparison.Ordinal));
    }

    [Fact]
    public void A_model_is_loaded_or_made_not_both()
    {
        var error = Assert.Throws<FaultsException>(() => Load(TinyProject.Full, "model.model_name_or_path=base"));
        Assert.Equal(
            $"{_folder["r.yaml"]} has 1 fault:\n  line 3  model.from_config  given together with "
            + "model_name_or_path; expected one of the two.",
            error.Message);
    }

    [Fact]
    public void Tasks_of_a_column_are_known_only_to_the_data()
    {
        var text = TinyProject.Mixture.Replace("limit: 4,", "limit: 4, task_column: kind,", StringComparison.Ordinal);
        Assert.Equal("anything", Load(text, "evaluation.tasks=[{task: anything}]").Evaluation.Tasks[0].Name);
    }

    [Theory]
    [InlineData(TinyProject.Mixture)]
    [InlineData(TinyProject.Full)]
    public void The_resolved_recipe_reads_as_itself(string text)
    {
        var first = Load(text);
        var resolved = ConfigText.ToYaml(first.Resolved);
        var second = Recipe.Load(_folder.Write("resolved.yaml", resolved), []);

        Assert.Equal(resolved, ConfigText.ToYaml(second.Resolved));
        Assert.Equal(first.Identity(), second.Identity());
        Assert.Contains("gradient_accumulation_steps: 1\n", resolved, StringComparison.Ordinal);
    }

    [Fact]
    public void The_resolved_recipe_of_unusual_values_reads_as_itself()
    {
        var text = TinyProject.Mixture
            .Replace("limit: 4,",
            "limit: 4, weight: 0.5, filter: \"p != ': # \\\"'\", columns: {n: \"'8'\", \"a b\": x}, task: '8',",
            StringComparison.Ordinal)
            .Replace("{task: copy,", "{task: '8',", StringComparison.Ordinal)
            .Replace("r: 2\n", "r: 2\n  rank_pattern: {\"layers\\\\.0\\\\..*\": 4}\n  init_lora_weights: true\n",
            StringComparison.Ordinal);
        var first = Load(text, "training.learning_rate=1e-5", "output_dir='a: b'", "data.seed=3",
            "adapter.router.kind=hard");
        var resolved = ConfigText.ToYaml(first.Resolved);
        var second = Recipe.Load(_folder.Write("resolved.yaml", resolved), []);

        Assert.Equal(resolved, ConfigText.ToYaml(second.Resolved));
        Assert.Equal("p != ': # \"'", second.Data.Eval[0].Filter!.Text);
        Assert.Equal(["n = '8'", "a b = x"],
            second.Data.Eval[0].Columns.Select(column => $"{column.Key} = {column.Value.Text}"));
        Assert.Equal("8", second.Data.Eval[0].Task);
        Assert.Equal((1e-5, "a: b"), (second.Training.LearningRate, second.OutputDir));
        Assert.Equal(4, Assert.Single(second.AdapterOptions!.RankPattern).Value);
    }

    [Fact]
    public void A_recipe_in_pieces_resolves_as_the_recipe_in_one_piece()
    {
        var whole = Load(TinyProject.Mixture, "training.seed=5");
        _folder.Write("base/part.yaml", TinyProject.Mixture);
        var pieces = Recipe.Load(_folder.Write("r.yaml", "extends: base/part.yaml\ntraining:\n  seed: 5\n"), []);
        Assert.Equal(ConfigText.ToYaml(whole.Resolved), ConfigText.ToYaml(pieces.Resolved));
    }

    // Each key of the section with another value, and whether a checkpoint may be continued with it.
    public static TheoryData<string, string, bool> TrainingKeys => new()
    {
        { "per_device_train_batch_size", "5", false }, { "per_device_eval_batch_size", "5", true },
        { "gradient_accumulation_steps", "2", false }, { "max_steps", "9", false }, { "num_train_epochs", "2", false },
        { "learning_rate", "0.5", false }, { "lr_scheduler_type", "linear", false }, { "warmup_ratio", "0.5", false },
        { "warmup_steps", "3", false }, { "min_lr_ratio", "0.5", false }, { "optim", "sgd", false },
        { "adam_beta1", "0.5", false },
        { "adam_beta2", "0.5", false }, { "adam_epsilon", "0.5", false }, { "weight_decay", "0.5", false },
        { "momentum", "0.5", false },
        { "max_grad_norm", "0.5", false }, { "seed", "7", false }, { "logging_steps", "7", true },
        { "save_steps", "7", true },
        { "save_total_limit", "7", true }, { "eval_steps", "7", false }, { "load_best_model_at_end", "true", false },
        { "early_stopping_patience", "7", false }, { "early_stopping_threshold", "0.5", false },
        { "manifold", "{coefficient: 1}", false }, { "ddp_timeout", "60", true },
        { "report_to", "none", true }, { "on_non_finite", "skip", true }, { "gradient_checkpointing", "true", true },
    };

    [Theory]
    [MemberData(nameof(TrainingKeys))]
    public void Only_what_changes_no_number_may_differ_on_resume(string key, string value, bool free)
    {
        var (before, after) = (Load(TinyProject.Mixture).Identity(),
            Load(TinyProject.Mixture, $"training.{key}={value}").Identity());
        Assert.Equal(free, before == after);
    }

    [Fact]
    public void Every_training_key_is_in_the_table_above()
    {
        var keys = ((ConfigMap)Load(TinyProject.Mixture).Resolved["training"]!).Keys;
        Assert.Equal(keys.Order(StringComparer.Ordinal),
            TrainingKeys.Select(row => (string)row[0]).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("output_dir=elsewhere", true)]
    [InlineData("evaluation.tasks=[]", true)]
    [InlineData("evaluation.base=false", true)]
    [InlineData("model.dtype=bfloat16", false)]
    [InlineData("adapter.r=4", false)]
    [InlineData("adapter.router.balance.coefficient=0.5", false)]
    [InlineData("data.max_length=16", false)]
    [InlineData("data.shuffle=false", false)]
    public void The_other_sections_belong_to_the_identity_but_for_output_and_evaluation(string setting, bool free) =>
        Assert.Equal(free, Load(TinyProject.Mixture).Identity() == Load(TinyProject.Mixture, setting).Identity());

    private Recipe Load(string text, params string[] overrides) =>
        Recipe.Load(_folder.Write("r.yaml", text), overrides);

    [Fact]
    public void A_checkpoint_of_a_version_with_fewer_keys_belongs_to_the_same_recipe()
    {
        var identity = Load(TinyProject.Mixture).Identity();
        var earlier = string.Join('\n', identity.Split('\n').Where(
            line => !line.Contains("train_on:", StringComparison.Ordinal)
                && !line.Contains("chat_template:", StringComparison.Ordinal)));
        Assert.NotEqual(identity, earlier);
        Assert.Equal(identity, Recipe.IdentityOf(earlier));
        Assert.NotEqual(identity, Recipe.IdentityOf(Load(TinyProject.Mixture, "data.train_on=all").Identity()));
        Assert.Null(Recipe.IdentityOf("training: {no_such_key: 1}"));
        Assert.Null(Recipe.IdentityOf("{"));
    }
}
