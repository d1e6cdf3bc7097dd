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
        var trained = Peft("train", "r.yaml", "--output", "out").Succeeds();
        Assert.DoesNotContain("generate", trained.Error);
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
        _folder.Write("choice.yaml", $$$"""
            kind: multiple_choice
            data:
              files: {{{TinyBase.RowsFile}}}
              columns: {label: "answer > ' mat 5' ? 'high' : 'low'"}
              template: {prompt: "{question}", answer: "{label}"}
            labels: [low, high]
            choices: [" mat {answer}", " dog"]
            """);
        _folder.Write("text.yaml", $$$"""
            kind: perplexity
            data: {files: {{{TinyBase.RowsFile}}}, template: {text: "{question} {answer}"}}
            """);
        Peft("eval", "--adapter", "out", "--no-base", "--rows", "3", "--tasks", "choice.yaml,text.yaml", "--output",
            "m").Succeeds();
        Assert.Contains("\"experts_per_token\"", File.ReadAllText(_folder["m/results.json"]));
        Write("t.yaml", "{kind: expert-choice}", "evaluation: {tasks: [{task: rows}]}", Held);
        Peft("train", "t.yaml", "--output", "no").IsRefused(
            "evaluation.tasks",
            $"1 task; expected none with router expert-choice, which cannot write an answer: {Why}.",
            "Write `evaluation.tasks: []`; held-out rows still give a loss.");
        Assert.False(Directory.Exists(_folder["no"]));
    }

    [Fact]
    public void A_chain_is_for_square_projections_and_no_sum_of_matrices()
    {
        Write("r.yaml", "{kind: chain-of-experts, iterations: 3, top_k: 4}");
        Peft("train", "r.yaml", "--output", "no").IsRefused(
            "adapter.router.iterations",
            "3 with top_k: 4; expected a divisor of top_k. All iterations together have top_k experts.");
        Write("r.yaml", "{kind: chain-of-experts, top_k: 10}");
        Peft("train", "r.yaml", "--output", "no").IsRefused(
            "adapter.router.top_k", "10 in 2 iterations; expected at most 8, which are all 4 experts each time.");
        Write("r.yaml", "{kind: chain-of-experts}");
        Peft("train", "r.yaml", "--output", "no").IsRefused(
            "adapter.target_modules: down_proj, gate_proj, k_proj, up_proj, v_proj, which do not give as many values "
            + "as they take; expected square projections with router chain-of-experts, whose experts work on what they "
            + "gave. Write target_modules: [o_proj, q_proj].");
        Assert.False(Directory.Exists(_folder["no"]));
        File.WriteAllText(_folder["r.yaml"], File.ReadAllText(_folder["r.yaml"]).Replace(
            "r: 4,", "r: 4, target_modules: [o_proj, q_proj],", StringComparison.Ordinal));
        Peft("train", "r.yaml", "--output", "out").Succeeds();

        Peft("adapter", "export", "out", "--format", "merged", "--approximate", "--output", "one").IsRefused(
            "out: router chain-of-experts has the experts work 2 times, each time on what they gave; expected a router "
            + "whose experts one matrix can hold. Export the experts with --format peft.");
        Assert.Contains(
            "an expert alone works once; routed, the experts work 2 times, each on what they gave",
            Peft("adapter", "export", "out", "--output", "parts").Succeeds().Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_router_on_the_head_is_refused()
    {
        Write("r.yaml", "{kind: top-k}");
        File.WriteAllText(_folder["r.yaml"], File.ReadAllText(_folder["r.yaml"]).Replace(
            "r: 4,", "r: 4, target_modules: [q_proj, lm_head],", StringComparison.Ordinal));

        Peft("train", "r.yaml", "--output", "no").IsRefused(
            "lm_head: is the head, which sees the learned positions alone in training; a router decides for all "
            + "tokens; expected a mixture on other projections. Leave it out of adapter.target_modules, or write "
            + "method: lora.");
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

    [Fact]
    public void Whole_feed_forwards_are_exported_as_experts_and_never_merged()
    {
        Write("r.yaml", "{kind: mixlora-switch, capacity_factor: 2}");
        Peft("train", "r.yaml", "--set", "adapter.target_modules=[q_proj, up_proj]", "--output", "no").IsRefused(
            "model.layers.0.mlp: up_proj without ",
            "expected all its projections or none with router.kind: mixlora-switch, whose experts are whole "
                + "feed-forwards. Widen adapter.target_modules, or leave the feed-forward out.");
        Peft("train", "r.yaml", "--set", "adapter.experts.shared=1", "--output", "no").IsRefused(
            "adapter.experts.shared", "1; expected 0 with router.kind: mixlora-switch. A whole feed-forward of weight "
            + "1 beside the others would double what the base computes.");
        Assert.False(Directory.Exists(_folder["no"]));
        Peft("train", "r.yaml", "--output", "out").Succeeds();

        Peft("adapter", "export", "out", "--format", "merged", "--approximate", "--output", "no").IsRefused(
            "out: router mixlora-switch weighs whole feed-forwards, which weights of single projections cannot. "
            + "Export the experts with --format peft.");
        Peft("adapter", "export", "out", "--format", "peft", "--output", "experts").Succeeds();
        Assert.True(File.Exists(_folder["experts/expert_3/adapter_model.safetensors"]));
        Peft("adapter", "import", "experts", "--output", "again").Succeeds();
        Assert.Equal(
            File.ReadAllBytes(_folder["out/adapter_model.safetensors"]),
            File.ReadAllBytes(_folder["again/adapter_model.safetensors"]));
    }

    [Theory]
    [InlineData("{kind: graph-of-tokens}")]
    [InlineData("{kind: graph-of-tokens, similarity: attention}")]
    [InlineData("{kind: rmoe, hidden_size: 8}")]
    [InlineData("{kind: blockffn}")]
    [InlineData("{kind: top-k, balance: {kind: bip}}")]
    [InlineData("{kind: chain-of-experts, iterations: 3}")]
    [InlineData("{kind: mixlora}")]
    public void A_trained_router_goes_on_writing_what_it_learned(string router)
    {
        Write("r.yaml", router, "", "", 60);
        if (router.Contains("chain", StringComparison.Ordinal))
            File.WriteAllText(_folder["r.yaml"], File.ReadAllText(_folder["r.yaml"]).Replace(
                "r: 4,", "r: 4, target_modules: [o_proj, q_proj],", StringComparison.Ordinal));
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
