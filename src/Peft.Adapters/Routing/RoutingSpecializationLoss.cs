using System.Text.Json.Nodes;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="RoutingSpecializationLoss"/>.</summary>
public sealed record RoutingSpecializationOptions
{
    /// <summary>The paper's sign: minimising −λ·H raises the entropy and flattens the router.</summary>
    public const string AsWritten = "as-written";

    /// <summary>The sign that the paper's prose describes: minimising +λ·H sharpens the router.</summary>
    public const string Specialising = "specialising";

    /// <summary>Weight of the whole loss beside the task's.</summary>
    /// <value>Default 1; from 0 (off).</value>
    public double Coefficient { get; init; } = 1;

    /// <summary>Weight of the balance part.</summary>
    /// <value>Default 1 (unreported in the paper; the third-party port's value); from 0.</value>
    public double Alpha { get; init; } = 1;

    /// <summary>Weight of the entropy part.</summary>
    /// <value>Default 0.01 (unreported in the paper); from 0. Sweep 0.001, 0.01, 0.1.</value>
    public double Lambda { get; init; } = 0.01;

    /// <summary>What counts as an expert's load.</summary>
    /// <value>Default argmax: share of tokens whose best expert it is. first-k: share of the tokens' first k choices.</value>
    public string Load { get; init; } = "argmax";

    /// <summary>k of load first-k.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    public int LoadTopK { get; init; } = 2;

    /// <summary>Sign of the entropy part; the paper's formula and its prose disagree.</summary>
    /// <value>Default as-written; as-written or specialising.</value>
    public string EntropySign { get; init; } = AsWritten;

    /// <summary>Reads the section.</summary>
    public static RoutingSpecializationOptions Read(OptionReader reader, int experts)
    {
        ArgumentNullException.ThrowIfNull(reader);
        return new RoutingSpecializationOptions
        {
            Coefficient = reader.Number("coefficient", 1, 0),
            Alpha = reader.Number("alpha", 1, 0),
            Lambda = reader.Number("lambda", 0.01, 0),
            Load = reader.Choice("load", "argmax", ["argmax", "first-k"]),
            LoadTopK = reader.Integer("load_top_k", Math.Min(2, experts), 1, experts),
            EntropySign = reader.Choice("entropy_sign", AsWritten, [AsWritten, Specialising]),
        };
    }

    /// <summary>The section as JSON.</summary>
    public JsonObject ToJson() => new()
    {
        ["coefficient"] = Coefficient,
        ["alpha"] = Alpha,
        ["lambda"] = Lambda,
        ["load"] = Load,
        ["load_top_k"] = LoadTopK,
        ["entropy_sign"] = EntropySign,
    };
}

/// <summary>LoRA-Mixer's Routing Specialization Loss: balance between experts against sharpness of each token's choice.</summary>
/// <remarks>
/// Source: LoRA-Mixer, arXiv:2507.00029, eq. 3 and 5: <c>α Σ_i p̄_i f̄_i ∓ λ E_x[H(p(x))]</c>, H in nats; no factor E.
/// Gradient: through p̄ and H; the load f̄ is constant. Padding never counts; the mean over modules is taken.
/// </remarks>
public static class RoutingSpecializationLoss
{
    private const double Tiny = 1e-20;

    /// <summary>The loss of all modules: the mean of theirs.</summary>
    /// <remarks>Shapes: records of [N, E]; mask [N] bool or null → scalar.</remarks>
    public static Tensor Of(IReadOnlyList<RoutingRecord> records, Tensor? mask, RoutingSpecializationOptions options)
    {
        ArgumentNullException.ThrowIfNull(records);
        return torch.stack([.. records.Select(record => Of(
            record.Decision.Probabilities ?? throw new ArgumentException($"{record.Module}: this loss needs probabilities"),
            mask,
            options))], 0).mean();
    }

    /// <summary>The loss of one module.</summary>
    /// <remarks>Shapes: probabilities [N, E], mask [N] bool or null → scalar.</remarks>
    public static Tensor Of(Tensor probabilities, Tensor? mask, RoutingSpecializationOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var balance = Balance(probabilities, mask, options.Load == "argmax" ? 1 : options.LoadTopK);
        var entropy = MeanEntropy(probabilities, mask);
        var sign = options.EntropySign == RoutingSpecializationOptions.AsWritten ? -1 : 1;
        return balance * options.Alpha + entropy * (sign * options.Lambda);
    }

    /// <summary><c>Σ_i p̄_i f̄_i</c>, f̄ the share of the tokens' first k choices.</summary>
    /// <remarks>Source: eq. 3 and section 3.3. Shapes: [N, E] → scalar. Gradient: through p̄.</remarks>
    public static Tensor Balance(Tensor probabilities, Tensor? mask, int k)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        var load = TokenMean.OfRows(Selection.TopMask(probabilities, k).to(torch.float32), mask) / k; // [E], sums to 1
        return (TokenMean.OfRows(probabilities, mask) * load).sum();
    }

    /// <summary><c>Σ_i p̄_i²</c>, the variant of the paper's appendix A.17.</summary>
    /// <remarks>Shapes: [N, E] → scalar. Gradient: through p̄.</remarks>
    public static Tensor SquaredMean(Tensor probabilities, Tensor? mask)
    {
        var mean = TokenMean.OfRows(probabilities, mask);
        return (mean * mean).sum();
    }

    /// <summary>The mean over tokens of <c>−Σ_i p_i ln p_i</c>.</summary>
    /// <remarks>Shapes: [N, E] → scalar. Units: nats. Gradient: through p; a probability of zero adds nothing.</remarks>
    public static Tensor MeanEntropy(Tensor probabilities, Tensor? mask)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        var logarithm = probabilities.clamp(min: Tiny).log();
        return TokenMean.OfRows((probabilities * logarithm).neg(), mask).sum();
    }
}
