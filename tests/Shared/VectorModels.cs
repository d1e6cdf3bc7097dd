namespace Peft.Tests;

/// <summary>The checkpoints of the shared vectors that this program's model families read.</summary>
public static class VectorModels
{
    /// <summary>Their folders below <c>vectors/models</c>.</summary>
    public static TheoryData<string> Names =>
        ["llama-gqa", "llama-tied", "llama3-rope", "llama-linear-rope", "llama-bias", "mistral-window",
            "mistral-headdim", "qwen2-tied"];
}
