using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>Routers and balances as a user meets them.</summary>
public sealed class RouterSettingsTests : IDisposable
{
    private const string Why = "each expert takes its best tokens of the whole batch, later ones too";
    private const string Held =
        "eval: [{name: rows, files: ROWS, template: {prompt: '{question}', answer: '{answer}'}}]";

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Expert_choice_trains_and_measures_and_refuses_to_write()
    {
        Write("r.yaml", "{kind: expert-choice}", "evaluation: {tasks: []}");
        Peft("train", "r.yaml", "--output", "out").Succeeds();
        Peft("logits", "--adapter", "out", "--ids", "1,2,3", "--output", "l.json").Succeeds();

        Peft("generate", "--adapter", "out", "--prompt", "the cat").IsRefused(
            $"out: router expert-choice cannot write a text: {Why}; expected measuring of given texts (peft eval with "
            + "choices or perplexity, peft logits).");
        _folder.Write("prose.yaml", $$$"""
            kind: generation
            data: {files: {{{TinyBase.RowsFile}}}, template: {prompt: "{question}", answer: "{answer}"}}
            """);
        Peft("eval", "--adapter", "out", "--no-base", "--tasks", "prose.yaml", "--output", "m").IsRefused(
            $"router expert-choice cannot write an answer, which task prose needs: {Why}; expected tasks of kind: "
            + "multiple_choice, classification or perplexity.");
        Assert.False(Directory.Exists(_folder["m"]));
        Write("t.yaml", "{kind: expert-choice}", "evaluation: {tasks: [{task: rows}]}", Held);
        Peft("train", "t.yaml", "--output", "no").IsRefused(
            "evaluation.tasks",
            $"1 task; expected none with router expert-choice, which cannot write an answer: {Why}.",
            "Write `evaluation.tasks: []`; held-out rows still give a loss.");
        Assert.False(Directory.Exists(_folder["no"]));
    }

    [Fact]
    public void A_balance_that_moves_a_choice_is_refused_where_there_is_none()
    {
        Write("r.yaml", "{kind: top-p, balance: {kind: quantile}}");

        Peft("train", "r.yaml", "--output", "no").IsRefused(
            "adapter.router.balance.kind",
            "'quantile'; expected none, switch or localized. It moves the choice of router: ",
            "; top-p has none to move.");
        Assert.False(Directory.Exists(_folder["no"]));
    }

    [Theory]
    [InlineData("{kind: graph-of-tokens}")]
    [InlineData("{kind: graph-of-tokens, similarity: attention}")]
    [InlineData("{kind: rmoe, hidden_size: 8}")]
    [InlineData("{kind: blockffn}")]
    [InlineData("{kind: top-k, balance: {kind: bip}}")]
    public void A_trained_router_goes_on_writing_what_it_learned(string router)
    {
        Write("r.yaml", router, "", "", 60);
        if (router.Contains("attention", StringComparison.Ordinal))
        {
            Peft("train", "r.yaml", "--output", "no").IsRefused(
                "model.layers.0.self_attn.q_proj: comes before the attention of its block, which router "
                + "graph-of-tokens goes by; expected projections behind it, such as o_proj and those of the "
                + "feed-forward layer. Leave it out of adapter.target_modules, or choose another similarity.");
            File.WriteAllText(_folder["r.yaml"], File.ReadAllText(_folder["r.yaml"]).Replace(
                "r: 4,", "r: 4, target_modules: [o_proj, up_proj, down_proj],", StringComparison.Ordinal));
        }

        Peft("train", "r.yaml", "--output", "out").Succeeds();

        Assert.Equal(" mat", Peft(
            "generate", "--adapter", "out", "--prompt", "the cat 3 sat on", "--no-prompt", "--max-new-tokens", "3")
            .Succeeds().Output[..4]);
    }

    private ProgramRun Peft(params string[] words) => PeftProcess.Run(_folder, words);

    private void Write(string name, string router, string more = "", string held = "", int steps = 3)
    {
        var recipe = TinyBase.Recipe(
            $"{{method: mixture, r: 4, experts: {{count: 4}}, router: {router}}}",
            $"{{per_device_train_batch_size: 4, max_steps: {steps}, learning_rate: 0.02, report_to: none}}", more);
        if (held.Length > 0)
            recipe = recipe.Replace("training:", $"  {held}\ntraining:", StringComparison.Ordinal)
                .Replace("ROWS", TinyBase.RowsFile, StringComparison.Ordinal);
        _folder.Write(name, recipe);
    }
}
