using Peft.Formats;

namespace Peft.Training;

/// <summary>Parameters that share a learning rate, and the key of <c>training:</c> that sets it.</summary>
/// <param name="Key">The key.</param>
/// <param name="Multiplier">Times <see cref="TrainingOptions.LearningRate"/>, at its peak and in every step.</param>
/// <param name="Parameters">Those that it changes, by name.</param>
public sealed record RateGroup(
    string Key, double Multiplier, IReadOnlyList<(string Name, Parameter Parameter)> Parameters)
{
    /// <summary>Numbers that it changes.</summary>
    public long Count => Parameters.Sum(pair => pair.Parameter.numel());

    /// <summary>What is trained by it, without the modules: <c>lora_B</c>, <c>router.weight</c>, …</summary>
    public IReadOnlyList<string> Kinds =>
        [.. Parameters.Select(pair => KindOf(pair.Name)).Distinct().Order(StringComparer.Ordinal)];

    private static string KindOf(string name)
    {
        var router = name.IndexOf(LearningRates.Router, StringComparison.Ordinal);
        return router >= 0 ? name[(router + 1)..] : name[(name.LastIndexOf('.') + 1)..];
    }
}

/// <summary>Which learning rate trains which parameter.</summary>
/// <remarks>
/// Source: LoRA+, arXiv:2402.12354, grouped as huggingface/peft 5d602fd does (<c>create_loraplus_optimizer</c>): names
/// that contain lora_B and every one-dimensional parameter learn at <c>learning_rate · loraplus_lr_ratio</c>, a LoRA on
/// the embeddings at <c>loraplus_lr_embedding</c>, all else at <c>learning_rate</c>. Routers, of which PEFT knows
/// nothing, are first: at <c>router_learning_rate</c> where there is one.
/// </remarks>
public static class LearningRates
{
    internal const string Router = ".router.";

    /// <summary>The groups that hold parameters, that of <c>learning_rate</c> first.</summary>
    /// <exception cref="UserException">A rate is given that trains nothing.</exception>
    public static IReadOnlyList<RateGroup> Of(
        TrainingOptions options, IReadOnlyList<(string Name, Parameter Parameter)> parameters)
    {
        var held = parameters.ToLookup(pair => KeyOf(options, pair.Name, pair.Parameter.dim()));
        if (options.RouterLearningRate is { } router && !held[Keys.Router].Any())
            throw Idle(Keys.Router, router, "no router has parameters that learn", "a router that learns");
        // The one-dimensional parameters alone are not what the ratio is for.
        if (options.LoraplusLrRatio is { } ratio && !parameters.Any(pair => IsUp(pair.Name)))
            throw Idle(Keys.Ratio, ratio, "no lora_B learns", "adapters that learn");
        return [.. new[] { Keys.Rate, Keys.Ratio, Keys.Embedding, Keys.Router }.Where(key => held[key].Any())
            .Select(key => new RateGroup(key, MultiplierOf(options, key), [.. held[key]]))];
    }

    /// <summary>The key of the rate that a parameter learns at.</summary>
    /// <param name="options">The rates.</param>
    /// <param name="name">The parameter's name.</param>
    /// <param name="dimensions">Its number of dimensions.</param>
    public static string KeyOf(TrainingOptions options, string name, long dimensions) =>
        options.RouterLearningRate is not null && name.Contains(Router, StringComparison.Ordinal) ? Keys.Router
        : options.LoraplusLrRatio is null ? Keys.Rate
        : name.Contains(".lora_embedding_", StringComparison.Ordinal) ? Keys.Embedding
        : IsUp(name) || dimensions <= 1 ? Keys.Ratio
        : Keys.Rate;

    /// <summary>A key's rate by <c>learning_rate</c>.</summary>
    public static double MultiplierOf(TrainingOptions options, string key) => key switch
    {
        Keys.Ratio => options.LoraplusLrRatio!.Value,
        Keys.Embedding => options.LoraplusLrEmbedding / options.LearningRate,
        Keys.Router => options.RouterLearningRate!.Value / options.LearningRate,
        _ => 1,
    };

    private static bool IsUp(string name) => name.Contains("lora_B", StringComparison.Ordinal);

    private static UserException Idle(string key, double rate, string found, string expected) =>
        UserException.At(
            $"training.{key}", $"{RunHealth.ShownRate(rate)}, and {found}", expected, "leave it out otherwise");

    private static class Keys
    {
        public const string Rate = "learning_rate";
        public const string Ratio = "loraplus_lr_ratio";
        public const string Embedding = "loraplus_lr_embedding";
        public const string Router = "router_learning_rate";
    }
}
