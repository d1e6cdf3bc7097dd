using System.Globalization;
using System.Text.Json.Nodes;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>How routers are fitted to a text while a model is used (<see cref="Rewiring"/>).</summary>
public sealed record RewiringOptions
{
    /// <summary>Layers with the largest C_l first, as the paper's formula says.</summary>
    public const string ByFormula = "by-formula";

    /// <summary>Layers with the smallest C_l first, as its prose says.</summary>
    public const string MostDecisive = "most-decisive";

    /// <summary>What a command line may say, for help texts.</summary>
    public const string Words = "default, or some of steps=5,learning_rate=0.05,every=128,layers=0.33,"
        + "order=by-formula,optimizer=adam";

    /// <summary>Steps of a fit.</summary>
    /// <value>Default 5, the paper's; at least 1.</value>
    [Key(Min = 1)]
    public int Steps { get; init; } = 5;

    /// <summary>Learning rate.</summary>
    /// <value>Default 0.05, the paper's; above 0.</value>
    [Key(Min = 1e-9)]
    public double LearningRate { get; init; } = 0.05;

    /// <summary>Tokens after which the longer text is fitted anew.</summary>
    /// <value>Default 128, the paper's; at least 1.</value>
    [Key(Min = 1)]
    public int Every { get; init; } = 128;

    /// <summary>Share of the layers that are fitted.</summary>
    /// <value>Default 1/3 (inferred: the paper's is unknown); above 0, up to 1; at least one layer is.</value>
    [Key(Min = 1e-9, Max = 1)]
    public double Layers { get; init; } = 1.0 / 3;

    /// <summary>Which layers: formula and prose of the paper contradict each other.</summary>
    /// <value>Default by-formula; by-formula or most-decisive.</value>
    [Key(Choices = [ByFormula, MostDecisive])]
    public string Order { get; init; } = ByFormula;

    /// <summary>What takes the steps.</summary>
    /// <value>Default adam (inferred: the paper names none); adam or sgd.</value>
    [Key(Choices = ["adam", "sgd"])]
    public string Optimizer { get; init; } = "adam";

    /// <summary>The options of a command line: <c>default</c>, or KEY=VALUE separated by commas.</summary>
    /// <exception cref="FaultsException">A key or value is wrong; all are named.</exception>
    public static RewiringOptions Parse(string text, string place)
    {
        var json = new JsonObject();
        var faults = new Faults();
        foreach (var part in text == "default" ? [] : text.Split(',', StringSplitOptions.TrimEntries))
        {
            var equals = part.IndexOf('=', StringComparison.Ordinal);
            if (equals < 1)
            {
                faults.Add(place, Quote.Of(part), "default, or KEY=VALUE separated by commas, such as steps=5");
                continue;
            }
            var value = part[(equals + 1)..];
            json[part[..equals]] = long.TryParse(value, CultureInfo.InvariantCulture, out var whole)
                ? JsonValue.Create(whole)
                : double.TryParse(value, CultureInfo.InvariantCulture, out var number)
                    ? JsonValue.Create(number) : JsonValue.Create(value);
        }
        var reader = new OptionReader(ConfigJson.Parse(json.ToJsonString(), place), place, faults);
        var options = reader.Bind(new RewiringOptions());
        reader.Finish();
        faults.ThrowIfAny(place);
        return options;
    }

    /// <summary>The settings that are not the default, as text behind a name; empty where all are.</summary>
    public string Changed
    {
        get
        {
            var usual = new RewiringOptions().ToString().Split(',');
            var changed = ToString().Split(',').Except(usual).ToList();
            return changed.Count == 0 ? "" : $" ({string.Join(", ", changed)})";
        }
    }

    /// <summary>Every setting, as text.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"steps={Steps},learning_rate={LearningRate},every={Every},layers={Layers},order={Order},")
        + $"optimizer={Optimizer}";
}

/// <summary>Moves the routers of some layers by one number an expert so that they fit the text at hand: no data, no
/// other parameter changes.</summary>
/// <remarks>
/// Source: Rewiring Experts on the Fly, arXiv:2510.14853: <c>z + δ</c> for all tokens, δ from zero by a few steps
/// on the next-token cross-entropy of the text so far; layers by <c>C_l = −(1/k) Σ_j log p_j</c> of the selected
/// experts, here the mean over a layer's modules. δ begins at zero with each text and goes on where it is fitted
/// anew (inferred).
/// </remarks>
public sealed class Rewiring : IDisposable
{
    private readonly AdaptedModel _adapted;
    private readonly RewiringOptions _options;
    private readonly IReadOnlyList<(MixtureProjection Module, IRewirable Router, Parameter Offset)> _routers;
    private List<int>? _chosen;

    /// <summary>Prepares a model, whose own parameters then ask for no gradients.</summary>
    /// <exception cref="UserException">Its routers have no logits that could be moved.</exception>
    public Rewiring(AdaptedModel adapted, RewiringOptions options)
    {
        RequireRewirable(adapted.Options);
        (_adapted, _options) = (adapted, options);
        foreach (var (_, parameter) in adapted.Parameters)
            parameter.requires_grad = false;
        _routers = [
            .. adapted.Modules.Where(module => module.Router is IRewirable).Select(module => (
                module, (IRewirable)module.Router!,
                torch.zeros([module.Router!.Context.Experts], torch.float32, adapted.Model.Device).ToParameter()))];
    }

    /// <summary>Begins a new text: every offset is zero.</summary>
    public void Reset()
    {
        using var off = torch.no_grad();
        _chosen = null;
        foreach (var (_, router, offset) in _routers)
        {
            router.LogitOffset = null;
            offset.zero_();
        }
    }

    /// <summary>Fits the routers to a text. Of a text of one token there is nothing to learn.</summary>
    /// <param name="ids">The text.</param>
    /// <param name="taskId">Its task, for routers that go by task.</param>
    public void Fit(IReadOnlyList<int> ids, long? taskId = null)
    {
        if (ids.Count < 2)
            return;
        var model = _adapted.Model;
        using var outer = torch.NewDisposeScope();
        var tokens = torch.tensor([.. ids.Select(id => (long)id)], [1, ids.Count]).to(model.Device);
        var next = tokens.narrow(1, 1, ids.Count - 1).reshape(-1);
        IReadOnlyList<int> all = _chosen ?? [.. Enumerable.Range(0, _routers.Count)];
        foreach (var i in all)
            _routers[i].Router.LogitOffset = _routers[i].Offset;
        Descend([.. _routers.Select(router => router.Offset)], _options, () =>
        {
            var pass = ForwardPass.ForFitting(ForwardPass.TaskIdsOf(taskId, 1, model.Device));
            var hidden = model.Hidden(tokens, pass).narrow(1, 0, ids.Count - 1);
            var loss = model.TokenLosses(hidden.reshape(-1, hidden.shape[2]), next, pass).mean();
            return (loss, _chosen ??= Choose(pass.Records<RoutingRecord>()));
        });
    }

    /// <summary>Continues a prompt, fitting the routers to it and anew after every so many tokens.</summary>
    /// <exception cref="UserException">As <see cref="TextGeneration.Generate"/>, before anything is
    /// computed.</exception>
    public IEnumerable<int> Generate(IReadOnlyList<int> ids, GenerationOptions options)
    {
        // It checks when it is called and computes nothing before it is asked for a token.
        _ = TextGeneration.Generate(_adapted.Model, ids, options);
        return Continue(ids, options);
    }

    /// <summary>How undecided a layer's routers are: the mean of −log p over a token's selected experts and over the
    /// tokens.</summary>
    /// <remarks>Source: arXiv:2510.14853, C_l. Shapes: probabilities and selected [N, E].</remarks>
    public static double Indecision(Tensor probabilities, Tensor selected)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var kept = selected.to(torch.float32);
        return ((probabilities.clamp(min: 1e-20).log().neg() * kept).sum(-1) / kept.sum(-1).clamp(min: 1))
            .mean().ToDouble();
    }

    /// <summary>Layers in the order in which they are fitted.</summary>
    /// <param name="indecision">C_l of each layer.</param>
    /// <param name="order">By formula or the most decisive first.</param>
    public static IReadOnlyList<int> Ordered(IReadOnlyList<double> indecision, string order) =>
        [.. Enumerable.Range(0, indecision.Count).OrderBy(
            layer => order == RewiringOptions.ByFormula ? -indecision[layer] : indecision[layer])];

    /// <summary>Takes the steps of one fit.</summary>
    /// <remarks>Adam with β 0.9 and 0.999, eps 1e-8, its moments from zero in each fit.</remarks>
    /// <param name="offsets">All offsets.</param>
    /// <param name="options">Steps, rate and optimizer.</param>
    /// <param name="loss">Makes the loss of one step, and says which offsets are moved.</param>
    /// <returns>The loss before each step.</returns>
    public static IReadOnlyList<double> Descend(
        IReadOnlyList<Parameter> offsets, RewiringOptions options,
        Func<(Tensor Loss, IReadOnlyList<int> Chosen)> loss)
    {
        List<(string, Parameter)> named = [.. offsets.Index().Select(offset => ($"{offset.Index}", offset.Item))];
        using Optimizer optimizer = options.Optimizer == "sgd"
            ? new SGD(named, options.LearningRate) : new AdamW(named, options.LearningRate, weight_decay: 0);
        var losses = new List<double>();
        for (var step = 1; step <= options.Steps; step++)
        {
            using var scope = torch.NewDisposeScope();
            optimizer.zero_grad();
            var (value, chosen) = loss();
            losses.Add(value.ToDouble());
            if (!value.requires_grad)
                break; // no router was asked
            Gradients.backward(value);
            // Those that are not moved do not count as having been asked.
            foreach (var i in Enumerable.Range(0, offsets.Count).Except(chosen))
                offsets[i].grad = null;
            optimizer.step();
        }
        return losses;
    }

    /// <summary>Leaves the routers as they were.</summary>
    public void Dispose()
    {
        Reset();
        foreach (var (_, _, offset) in _routers)
            offset.Dispose();
    }

    /// <summary>Refuses an adapter whose routers cannot be moved.</summary>
    /// <exception cref="UserException">None of them has logits, or nothing can be learned of them.</exception>
    public static void RequireRewirable(AdapterOptions adapter)
    {
        const int AnyWidth = 64;
        if (adapter.Router is not { } options || !RouterCatalog.Of(options).IsRewirable)
        {
            var known = RouterCatalog.Entries.Where(entry => entry.IsRewirable).Select(entry => entry.Kind);
            throw UserException.At(
                "--rewire", adapter.Router is null ? "an adapter without a router"
                    : $"router {adapter.Router.Kind}, whose logits cannot be moved",
                $"a mixture behind router {Words.OneOf([.. known])}");
        }

        using var scope = torch.NewDisposeScope();
        var experts = adapter.Experts.Count;
        using var router = RouterCatalog.Create(options, new RouterContext(
            "router", AnyWidth, experts, adapter.R, 0,
            torch.zeros([(long)experts * adapter.R, AnyWidth], torch.float32).ToParameter(false), new SharedParts()));
        if (((IRewirable)router).WhyNoGradient is { } why)
            throw UserException.At("--rewire", $"router {options.Kind} {why}", "gates that depend on the logits");
    }

    private IEnumerable<int> Continue(IReadOnlyList<int> ids, GenerationOptions options)
    {
        var ends = (options.EosTokenIds ?? _adapted.Model.Config.EosTokenIds).ToHashSet();
        var all = ids.ToList();
        var isEnded = false;
        Reset();
        while (!isEnded && all.Count - ids.Count < options.MaxNewTokens
            && all.Count < _adapted.Model.Config.MaxPositionEmbeddings)
        {
            Fit(all, options.TaskId);
            var made = all.Skip(ids.Count).ToList();
            var part = options with
            {
                MaxNewTokens = Math.Min(_options.Every, options.MaxNewTokens - made.Count),
                IsFinished = options.IsFinished is { } asked ? own => isEnded = asked([.. made, .. own]) : null,
            };
            foreach (var id in TextGeneration.Generate(_adapted.Model, [.. all], part))
            {
                isEnded |= ends.Contains(id);
                all.Add(id);
                yield return id;
            }
        }
    }

    // The routers of the layers that come first; those of the others lose their offsets.
    private List<int> Choose(IReadOnlyList<RoutingRecord> records)
    {
        var undecided = records.Where(record => record.Decision.Probabilities is not null).ToDictionary(
            record => record.Module,
            record => Indecision(record.Decision.Probabilities!, record.Decision.Selected), StringComparer.Ordinal);
        var layers = _routers.Index().Where(entry => undecided.ContainsKey(entry.Item.Module.Path))
            .GroupBy(entry => TargetSelection.LayerOf(entry.Item.Module.Path) ?? -1).ToList();
        var order = Ordered(
            [.. layers.Select(layer => layer.Average(entry => undecided[entry.Item.Module.Path]))], _options.Order);
        var count = Math.Max(1, (int)Math.Round(_options.Layers * layers.Count));
        List<int> chosen = [
            .. order.Take(count).SelectMany(layer => layers[layer].Select(entry => entry.Index)).Order()];
        foreach (var (i, (_, router, _)) in _routers.Index())
        {
            if (!chosen.Contains(i))
                router.LogitOffset = null;
        }
        return chosen;
    }
}
