using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>One run of a small mixture with everything a run can leave, shared by the tests that look at it.</summary>
public sealed class TrainedBundle : IDisposable
{
    public const int Steps = 6;

    public TrainedBundle()
    {
        Folder.Write("mix.yaml", TinyBase.RecipeWithHeldRows(
            "{method: mixture, r: 2, lora_dropout: 0.1, experts: {count: 3}, router: {kind: top-k, top_k: 2, balance: "
            + "{kind: switch, coefficient: 0.01}}}",
            $"{{per_device_train_batch_size: 2, max_steps: {Steps}, save_steps: 2, eval_steps: 3, logging_steps: 2, "
            + $"learning_rate: 0.01}}",
            "evaluation: {tasks: [{task: held, rows: 4, max_new_tokens: 3}]}"));
        Run = PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "out", "--json");
    }

    internal TempFolder Folder { get; } = new();

    internal ProgramRun Run { get; }

    public void Dispose() => Folder.Dispose();
}
