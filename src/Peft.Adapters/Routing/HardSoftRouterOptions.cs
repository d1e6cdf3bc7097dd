using System.Text.Json.Nodes;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="HardSoftRouter"/>.</summary>
public sealed record HardSoftRouterOptions : RouterOptions
{
    /// <summary>Stage 1: every row goes to the expert of its task.</summary>
    public const string Hard = "hard";

    /// <summary>Stage 2: the router learns.</summary>
    public const string Soft = "soft";

    /// <summary>A router for each projection.</summary>
    public const string PerProjection = "projection";

    /// <summary>A router for each attention block.</summary>
    public const string PerAttentionBlock = "attention-block";

    /// <inheritdoc/>
    public override string Kind => "hard-soft";

    /// <summary>Which stage runs.</summary>
    /// <value>Default soft. hard: the row's task id is its expert, the router is neither used nor trained.</value>
    public string Stage { get; init; } = Soft;

    /// <summary>Experts kept at inference in the soft stage.</summary>
    /// <value>Default 3 (the paper's first version); from 1 to the number of experts.</value>
    public int TopK { get; init; } = 3;

    /// <summary>Whether inference divides the kept probabilities by their sum.</summary>
    /// <value>Default true, because the weights of soft training sum to 1; the paper does not say.</value>
    public bool Normalize { get; init; } = true;

    /// <summary>Whether the projections of an attention block share one router.</summary>
    /// <value>Default projection, a router each; attention-block: the first adapted projection of a block decides for all.</value>
    public string Granularity { get; init; } = PerProjection;

    /// <summary>Weight β of the preservation loss on the experts, for the soft stage with experts that still learn.</summary>
    /// <value>Default 0 (unreported in the paper); from 0.</value>
    public double Preservation { get; init; }

    /// <summary>The Routing Specialization Loss of the soft stage.</summary>
    public RoutingSpecializationOptions Specialization { get; init; } = new();

    /// <summary>Reads the section.</summary>
    public static HardSoftRouterOptions Read(OptionReader reader, RouterSize size)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(size);
        return new HardSoftRouterOptions
        {
            Stage = reader.Choice("stage", Soft, [Hard, Soft]),
            TopK = reader.Integer("top_k", Math.Min(3, size.Experts), 1, size.Experts),
            Normalize = reader.Boolean("normalize", true),
            Granularity = reader.Choice("granularity", PerProjection, [PerProjection, PerAttentionBlock]),
            Preservation = reader.Number("preservation", 0, 0),
            Specialization = RoutingSpecializationOptions.Read(reader.Section("specialization"), size.Experts),
            Balance = BalanceOptions.Read(reader),
        };
    }

    /// <inheritdoc/>
    public override void WriteTo(JsonObject json)
    {
        ArgumentNullException.ThrowIfNull(json);
        json["stage"] = Stage;
        json["top_k"] = TopK;
        json["normalize"] = Normalize;
        json["granularity"] = Granularity;
        json["preservation"] = Preservation;
        json["specialization"] = Specialization.ToJson();
    }

    /// <inheritdoc/>
    public override bool SharesInBlock => Granularity == PerAttentionBlock;

    /// <inheritdoc/>
    public override double PreservationCoefficient => Stage == Soft ? Preservation : 0;

    /// <inheritdoc/>
    public override IReadOnlyList<AuxiliaryTerm> OwnLosses() =>
        Stage == Soft && Specialization.Coefficient > 0
            ? [new AuxiliaryTerm(
                "specialization",
                Specialization.Coefficient,
                (records, tokens) => RoutingSpecializationLoss.Of(records, tokens.Mask, Specialization))]
            : [];
}
