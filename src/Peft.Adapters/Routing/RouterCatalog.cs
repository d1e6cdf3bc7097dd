using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>One router that recipes can name.</summary>
/// <param name="Kind">Its name in recipes and bundles; never reused with another meaning.</param>
/// <param name="Aliases">Other names that recipes may use; bundles hold the kind.</param>
/// <param name="Description">One line for help texts.</param>
/// <param name="First">Its options with their first values; their type belongs to this router alone.</param>
/// <param name="Create">Makes the router of one projection.</param>
public sealed record RouterEntry(
    string Kind, IReadOnlyList<string> Aliases, string Description, RouterOptions First,
    Func<RouterOptions, RouterContext, Router> Create)
{
    /// <summary>Whether it chooses ranks of one adapter instead of experts.</summary>
    public bool RoutesRanks => First.RoutesRanks;

    /// <summary>Whether there is one adapter, of which it chooses parts.</summary>
    public bool HasOneAdapter => First.HasOneAdapter;

    /// <summary>Whether the routers that it makes are <see cref="IRewirable"/>.</summary>
    public bool IsRewirable { get; init; }
}

/// <summary>Every router, one line each. Adding one is a file beside this and a line here.</summary>
public static class RouterCatalog
{
    /// <summary>The kind that means no router: one expert, plain LoRA.</summary>
    public const string None = "none";

    /// <summary>The routers, by name. <c>hard</c> is another name of <c>top-k</c>: a hard choice of experts.</summary>
    public static IReadOnlyList<RouterEntry> Entries { get; private set; } =
    [
        Entry("arrow", [], "the k experts whose update changes a token most (Arrow; filled by merging)",
            new ArrowRouterOptions(), (o, c) => new ArrowRouter(o, c)),
        Entry("average-activation", [], "the k experts whose data a token resembles (filled by merging)",
            new AverageActivationRouterOptions(), (o, c) => new StandardizedRouter(o, c)),
        Entry("blockffn", [], "every expert whose score is above zero (BlockFFN)",
            new BlockFfnRouterOptions(), (o, c) => new BlockFfnRouter(o, c)),
        Entry("chain-of-experts", [], "the k best experts again and again, on what they gave (Chain-of-Experts)",
            new ChainRouterOptions(), (o, c) => new ChainRouter(o, c)),
        Entry("comol", [], "experts that are small matrices between one A and one B, merged for each token (CoMoL)",
            new ComolRouterOptions(), (o, c) => new ComolRouter(o, c)),
        Entry("expert-choice", [], "each expert takes the tokens that want it most (expert choice; it cannot write)",
            new ExpertChoiceRouterOptions(), (o, c) => new ExpertChoiceRouter(o, c)),
        Entry("factorllm", [], "half of the frozen feed-forward's slices, by labels that they give (FactorLLM)",
            new FactorLlmRouterOptions(), (o, c) => new FactorLlmRouter(o, c)),
        Entry("ffn-split", [], "slices of the frozen feed-forward, weighed (upcycling: all alike at first)",
            new FfnSplitRouterOptions(), (o, c) => new FfnSplitRouter(o, c)),
        Entry("gate", [], "a sigmoid gate on each expert by itself (PHATGOOSE's gate training)",
            new GateRouterOptions(), (o, c) => new GateRouter(o, c)),
        Entry("glider", [], "phatgoose, moved by how near a prompt is to an expert's task (GLIDER; filled by merging)",
            new GliderRouterOptions(), (o, c) => new GliderRouter(o, c)),
        Entry("graph-of-tokens", [], "the k best experts of a token and of similar earlier ones (Graph of Tokens)",
            new GraphOfTokensRouterOptions(), (o, c) => new GraphOfTokensRouter(o, c)),
        Entry("hard-soft", [], "expert by task id first, then a learned soft mixture (LoRA-Mixer)",
            new HardSoftRouterOptions(), (o, c) => new HardSoftRouter(o, c)),
        Entry("hydra", [], "softmax over experts that have one A together (HydraLoRA)",
            new HydraRouterOptions(), (_, c) => new SoftRouter(new SoftRouterOptions(), c)),
        Entry("lily", [], "experts that the layers have in common, weighted by what A makes of a token (Lily)",
            new LilyRouterOptions(), (o, c) => new LilyRouter(o, c)),
        Entry("mixlora", [], "whole feed-forwards as experts: the k most probable (MixLoRA)",
            new MixLoraRouterOptions(), (o, c) => new MixLoraRouter(o, c)),
        Entry("mixlora-dynamic", [], "whole feed-forwards as experts, up to a total probability (MixLoRA, dynamic)",
            new MixLoraDynamicRouterOptions(), (o, c) => new MixLoraDynamicRouter(o, c)),
        Entry("mixlora-switch", [], "whole feed-forwards as experts, the most probable alone (MixLoRA, switch)",
            new MixLoraSwitchRouterOptions(), (o, c) => new MixLoraRouter(o, c)),
        Entry("phatgoose", [], "the k experts whose trained gate a token resembles (PHATGOOSE; filled by merging)",
            new PhatgooseRouterOptions(), (o, c) => new StandardizedRouter(o, c)),
        Entry("poly", [], "the experts' matrices averaged by weights of the row's task (Polytropon, MHR)",
            new PolyRouterOptions(), (o, c) => new PolyRouter(o, c)),
        Entry("post-moe", [], "the k most probable experts, the task's own among them in training (Post-MoE)",
            new PostMoeRouterOptions(), (o, c) => new PostMoeRouter(o, c)),
        Entry("random-projection", [], "the strongest ranks of a frozen sparse projection (FlyLoRA)",
            new RandomProjectionRouterOptions(), (o, c) => new RandomProjectionRouter(o, c)),
        Entry("rexmoe", [], "the k best of the experts of neighbouring layers, opened step by step (ReXMoE)",
            new RexmoeRouterOptions(), (o, c) => new RexmoeRouter(o, c)),
        Entry("rloo", [], "drawn experts of constant weight, learned by leave-one-out REINFORCE (ReMix)",
            new RlooRouterOptions(), (o, c) => new RlooRouter(o, c)),
        Entry("rmoe", [], "the k best experts by a state that goes from layer to layer (RMoE)",
            new RmoeRouterOptions(), (o, c) => new RmoeRouter(o, c)),
        Entry("smora", [], "the k best ranks of one adapter by a learned score (SMoRA)",
            new SmoraRouterOptions(), (o, c) => new SmoraRouter(o, c)),
        Entry("soft", [], "softmax over all experts (LoRAMoE)",
            new SoftRouterOptions(), (o, c) => new SoftRouter(o, c)),
        Entry("sparsegen", [], "a sparse projection with a learned sparsity for each token (LD-MoLE)",
            new SparsegenRouterOptions(), (o, c) => new SparsegenRouter(o, c)),
        Entry("spectr", [], "the k experts whose whole update changes a token most (SpectR; filled by merging)",
            new SpectrRouterOptions(), (o, c) => new SpectrRouter(o, c)),
        Entry("top-k", ["hard"], "the k most probable experts (Mixtral, MoLA)",
            new TopKRouterOptions(), (o, c) => new TopKRouter(o, c)),
        Entry("top-p", [], "the most probable experts up to a total probability (Dynamic MoE)",
            new TopPRouterOptions(), (o, c) => new TopPRouter(o, c)),
        Entry("tsallis", [], "top-p or all experts, by the entropy of the router (DynMoLE)",
            new TsallisRouterOptions(), (o, c) => new TsallisRouter(o, c)),
        Entry("union-of-experts", [], "slices of the frozen feed-forward that add up (Union-of-Experts; cannot write)",
            new UnionRouterOptions(), (o, c) => new UnionRouter(o, c)),
        Entry("x-lora", [], "a classifier of what the base makes of each token, in a pass before (X-LoRA)",
            new XloraRouterOptions(), (o, c) => new XloraRouter(o, c)),
    ];

    /// <summary>Names that a recipe may write, aliases included.</summary>
    public static IReadOnlyList<string> Names =>
        [None, .. Entries.SelectMany(entry => entry.Aliases.Prepend(entry.Kind)).Order(StringComparer.Ordinal)];

    /// <summary>A line of the catalog.</summary>
    public static RouterEntry Entry<TOptions, TRouter>(
        string kind, IReadOnlyList<string> aliases, string description, TOptions first,
        Func<TOptions, RouterContext, TRouter> create)
        where TOptions : RouterOptions
        where TRouter : Router =>
        new(kind, aliases, description, first, (options, context) => create((TOptions)options, context))
        {
            IsRewirable = typeof(TRouter).IsAssignableTo(typeof(IRewirable)),
        };

    /// <summary>Adds a router that another program brings, for as long as the result is not disposed.</summary>
    public static IDisposable Add(RouterEntry entry)
    {
        Entries = [.. Entries, entry];
        return new Removal(entry);
    }

    /// <summary>The entry of a kind or alias.</summary>
    public static RouterEntry Of(string name) =>
        Entries.FirstOrDefault(entry => entry.Kind == name || entry.Aliases.Contains(name))
        ?? throw new ArgumentException($"no router {name}; there are {string.Join(", ", Names)}", nameof(name));

    /// <summary>The entry that a router's options belong to.</summary>
    public static RouterEntry Of(RouterOptions options) =>
        Entries.FirstOrDefault(entry => entry.First.GetType() == options.GetType())
        ?? throw new ArgumentException($"no router has {options.GetType().Name}", nameof(options));

    /// <summary>Reads a <c>router:</c> section; null for <c>kind: none</c>. Faults go to the reader.</summary>
    public static RouterOptions? Read(OptionReader reader, RouterSize size)
    {
        var kind = reader.Choice("kind", size.Experts == 1 ? None : "top-k", Names);
        if (kind != None && Of(kind) is { HasOneAdapter: true } entry && size.Experts > 1)
        {
            reader.Fault(
                "kind", $"{kind} with {size.Experts} experts", "a single adapter",
                entry.RoutesRanks ? "it chooses among the adapter's ranks: leave experts out"
                    : "it weighs slices of the base's feed-forward: leave experts out");
        }

        if (kind != None)
            return Of(kind).First.Read(reader, size);
        if (size.Experts > 1)
            reader.Fault(
                "kind", None, "a router where there are several experts", $"choose {Words.OneOf([.. Names.Skip(1)])}");
        return null;
    }

    /// <summary>Makes the router of one projection.</summary>
    public static Router Create(RouterOptions options, RouterContext context) => Of(options).Create(options, context);

    /// <summary>A router's section as JSON; <see cref="Read"/> of it gives the same options.</summary>
    public static JsonObject ToJson(RouterOptions options)
    {
        var json = new JsonObject { ["kind"] = options.Kind };
        foreach (var (key, value) in Keys.ToJson(options).Where(pair => pair.Value is not null))
            json[key] = value!.DeepClone();
        return json;
    }

    private sealed class Removal(RouterEntry entry) : IDisposable
    {
        public void Dispose() => Entries = [.. Entries.Where(other => other != entry)];
    }
}
