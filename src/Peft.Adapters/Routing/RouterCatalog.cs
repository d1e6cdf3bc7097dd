using System.Text.Json.Nodes;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>One router that recipes can name.</summary>
/// <param name="Kind">Its name in recipes and bundles; never reused with another meaning.</param>
/// <param name="Aliases">Other names that recipes may use; bundles hold the kind.</param>
/// <param name="Description">One line for help texts.</param>
/// <param name="Read">Reads its options, given the experts and their rank.</param>
/// <param name="Create">Makes the router of one projection.</param>
/// <param name="RoutesRanks">Whether it chooses ranks of one adapter instead of experts.</param>
public sealed record RouterEntry(
    string Kind,
    IReadOnlyList<string> Aliases,
    string Description,
    Func<OptionReader, RouterSize, RouterOptions> Read,
    Func<RouterOptions, RouterContext, Router> Create,
    bool RoutesRanks = false);

/// <summary>Every router, one line each. Adding one is a file beside this and a line here.</summary>
public static class RouterCatalog
{
    /// <summary>The kind that means no router: one expert, plain LoRA.</summary>
    public const string None = "none";

    /// <summary>The routers, by name. <c>hard</c> is another name of <c>top-k</c>: a hard choice of experts.</summary>
    public static IReadOnlyList<RouterEntry> Entries { get; } =
    [
        Entry("arrow", [], "the k experts whose update changes a token most (Arrow; merging fills it)", ArrowRouterOptions.Read, (o, c) => new ArrowRouter(o, c)),
        Entry("average-activation", [], "the k experts whose data a token resembles (merging fills it)", AverageActivationRouterOptions.Read, (o, c) => new StandardizedRouter(o, c)),
        Entry("gate", [], "a sigmoid gate on each expert by itself (PHATGOOSE's gate training)", GateRouterOptions.Read, (o, c) => new GateRouter(o, c)),
        Entry("hard-soft", [], "expert by task id first, then a learned soft mixture (LoRA-Mixer)", HardSoftRouterOptions.Read, (o, c) => new HardSoftRouter(o, c)),
        Entry("phatgoose", [], "the k experts whose trained gate a token resembles (PHATGOOSE; merging fills it)", PhatgooseRouterOptions.Read, (o, c) => new StandardizedRouter(o, c)),
        Entry("random-projection", [], "the strongest ranks of a frozen sparse projection (FlyLoRA)", RandomProjectionRouterOptions.Read, (o, c) => new RandomProjectionRouter(o, c), routesRanks: true),
        Entry("rloo", [], "drawn experts of constant weight, learned by leave-one-out REINFORCE (ReMix)", RlooRouterOptions.Read, (o, c) => new RlooRouter(o, c)),
        Entry("soft", [], "softmax over all experts (LoRAMoE)", SoftRouterOptions.Read, (o, c) => new SoftRouter(o, c)),
        Entry("sparsegen", [], "a sparse projection with learned sparsity a token (LD-MoLE)", SparsegenRouterOptions.Read, (o, c) => new SparsegenRouter(o, c)),
        Entry("top-k", ["hard"], "the k most probable experts (Mixtral, MoLA)", TopKRouterOptions.Read, (o, c) => new TopKRouter(o, c)),
        Entry("top-p", [], "the most probable experts up to a total probability (Dynamic MoE)", TopPRouterOptions.Read, (o, c) => new TopPRouter(o, c)),
        Entry("tsallis", [], "top-p or all experts, by the entropy of the router (DynMoLE)", TsallisRouterOptions.Read, (o, c) => new TsallisRouter(o, c)),
    ];

    /// <summary>Names that a recipe may write, aliases included.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [None, .. Entries.SelectMany(entry => entry.Aliases.Prepend(entry.Kind)).Order(StringComparer.Ordinal)];

    /// <summary>The entry of a kind or alias.</summary>
    public static RouterEntry Of(string name) =>
        Entries.FirstOrDefault(entry => entry.Kind == name || entry.Aliases.Contains(name))
        ?? throw new ArgumentException($"no router {name}; there are {string.Join(", ", Names)}", nameof(name));

    /// <summary>Reads a <c>router:</c> section; null for <c>kind: none</c>. Faults go to the reader.</summary>
    public static RouterOptions? Read(OptionReader reader, RouterSize size)
    {
        var kind = reader.Choice("kind", size.Experts == 1 ? None : "top-k", Names);
        if (kind != None && Of(kind) is { RoutesRanks: true } && size.Experts > 1)
            reader.Fault("kind", $"{kind} with {size.Experts} experts", "one adapter", "it chooses among the adapter's ranks: leave experts out");
        if (kind != None)
            return Of(kind).Read(reader, size);
        if (size.Experts > 1)
            reader.Fault("kind", None, "a router, for more than one expert", $"choose among {string.Join(", ", Names.Skip(1))}");
        return null;
    }

    /// <summary>Makes the router of one projection.</summary>
    public static Router Create(RouterOptions options, RouterContext context) =>
        Of(options.Kind).Create(options, context);

    /// <summary>A router's section as JSON; <see cref="Read"/> of it gives the same options.</summary>
    public static JsonObject ToJson(RouterOptions options)
    {
        var json = new JsonObject { ["kind"] = options.Kind };
        options.WriteTo(json);
        if (options.HasBalance)
            json["balance"] = options.Balance.ToJson();
        return json;
    }

    private static RouterEntry Entry<TOptions>(
        string kind,
        IReadOnlyList<string> aliases,
        string description,
        Func<OptionReader, RouterSize, TOptions> read,
        Func<TOptions, RouterContext, Router> create,
        bool routesRanks = false)
        where TOptions : RouterOptions =>
        new(kind, aliases, description, read, (options, context) => create((TOptions)options, context), routesRanks);
}
