using System.Text.Json.Nodes;
using Peft.Adapters.Losses;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="TopKRouter"/>.</summary>
public sealed record TopKRouterOptions : RouterOptions
{
    /// <inheritdoc/>
    public override string Kind => "top-k";

    /// <summary>Experts each token is sent to.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    public int TopK { get; init; } = 2;

    /// <summary>Whether the kept probabilities are divided by their sum (Mixtral, MoLA, MixLoRA) or left as they are.</summary>
    /// <value>Default true. With top_k 1 and true every gate is 1, so the router learns only from a balance loss.</value>
    public bool Normalize { get; init; } = true;

    /// <summary>Reads the section.</summary>
    public static TopKRouterOptions Read(OptionReader reader, int experts)
    {
        ArgumentNullException.ThrowIfNull(reader);
        return new TopKRouterOptions
        {
            TopK = reader.Integer("top_k", Math.Min(2, experts), 1, experts),
            Normalize = reader.Boolean("normalize", true),
            Balance = BalanceOptions.Read(reader),
        };
    }

    /// <inheritdoc/>
    public override void WriteTo(JsonObject json)
    {
        ArgumentNullException.ThrowIfNull(json);
        json["top_k"] = TopK;
        json["normalize"] = Normalize;
    }
}

/// <summary>Sends each token to the K experts with the largest probability.</summary>
/// <remarks>
/// Source: MoLA, arXiv:2402.08562 (softmax, top-2, renormalised); Mixtral, arXiv:2401.04088, section 2.1.
/// Shapes: x [N, D] → gates [N, E] with K of them above zero in every row.
/// Units: gates are probabilities; they sum to 1 when renormalised.
/// Gradient: reaches the gate matrix through the kept probabilities; the choice carries none.
/// </remarks>
public sealed class TopKRouter : Router
{
    private readonly TopKRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public TopKRouter(TopKRouterOptions options, RouterContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _weight = NewGate();
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var logits = Score(x, _weight);
        var probabilities = logits.softmax(-1);
        var selected = Selection.TopMask(probabilities, _options.TopK);
        return new RoutingDecision(Selection.Gates(probabilities, selected, _options.Normalize), selected, probabilities, logits);
    }
}
