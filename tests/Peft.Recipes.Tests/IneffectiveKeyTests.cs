namespace Peft.Recipes.Tests;

/// <summary>A key that does nothing beside another one is told before the run starts.</summary>
public sealed class IneffectiveKeyTests
{
    private static readonly string Folder = Path.Combine(SharedAssets.Repository, "recipes");

    public static TheoryData<string> Shipped => [.. Directory.GetFiles(Folder, "*.yaml")
        .Concat(Directory.GetFiles(Path.Combine(Folder, "small"), "*.yaml"))
            .Select(path => Path.GetRelativePath(Folder, path))];

    [Theory]
    [MemberData(nameof(Shipped))]
    public void No_recipe_of_ours_has_one(string recipe) =>
        Assert.Empty(Recipe.Load(Path.Combine(Folder, recipe), []).Ineffective());

    [Theory]
    [InlineData("data.shuffle_buffer_size=5", "data.shuffle_buffer_size has no effect with streaming: false")]
    [InlineData("data.packing_strategy=wrapped", "data.packing_strategy has no effect with packing: false")]
    [InlineData("data.shuffle=false|data.bucket_window=3", "data.bucket_window has no effect with shuffle: false")]
    [InlineData("data.train=[{files: a.txt, template: {text: \"{text}\"}}]|data.eval=[]|evaluation=null|"
        + "data.shuffle=false|data.seed=3", "data.seed has no effect with shuffle: false")]
    [InlineData("data.train=[{files: a.txt, template: {text: \"{text}\"}}]|data.eval=[]|evaluation=null|"
        + "data.train_on_prompt=true",
        "data.train_on_prompt has no effect with text templates, which are learned whole")]
    [InlineData("data.eval=[{files: a.txt, template: {text: \"{text}\"}, weight: 2}]|evaluation=null",
        "data.eval[0].weight has no effect with held-out rows, which are all measured")]
    [InlineData("data.eval=[]|evaluation=null|training.eval_steps=3",
        "training.eval_steps has no effect without data.eval")]
    [InlineData("training.momentum=0.9", "training.momentum has no effect with optim: adamw")]
    [InlineData("training.early_stopping_threshold=0.1",
        "training.early_stopping_threshold has no effect with early_stopping_patience: 0")]
    [InlineData("adapter.router.balance={kind: none, coefficient: 0.5}",
        "adapter.router.balance.coefficient has no effect with router.balance.kind: none")]
    [InlineData("adapter.init_lora_weights=goat|adapter.lora_alpha=3",
        "adapter.lora_alpha has no effect with goat.scaling: theory, which sets the scale")]
    public void It_is_named_with_what_makes_it_do_nothing(string set, string expected) =>
        Assert.Contains(
            expected, Recipe.Load(Path.Combine(Folder, "small", "top-k.yaml"), set.Split('|')).Ineffective());

    [Fact]
    public void Each_of_several_is_named()
    {
        var recipe = Recipe.Load(
            Path.Combine(Folder, "small", "top-k.yaml"),
            ["training.lr_scheduler_type=constant", "training.min_lr_ratio=0.1", "training.optim=sgd",
                "training.adam_beta1=0.8",
                "training.max_steps=5", "training.num_train_epochs=2", "training.warmup_steps=3",
                    "training.warmup_ratio=0.5"]);

        Assert.Equal(
            ["training.adam_beta1 has no effect with optim: sgd",
                "training.min_lr_ratio has no effect with lr_scheduler_type: constant",
                "training.warmup_ratio has no effect with warmup_steps: 3",
                    "training.num_train_epochs has no effect with max_steps: 5"],
            recipe.Ineffective());
    }
}
