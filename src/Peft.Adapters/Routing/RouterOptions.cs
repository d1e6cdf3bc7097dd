using System.Reflection;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Experts and rank that a router's options are read for.</summary>
/// <param name="Experts">Experts of the smallest routed layer.</param>
/// <param name="Rank">Rank of each.</param>
public sealed record RouterSize(int Experts, int Rank)
{
    /// <summary>Experts of the largest routed layer.</summary>
    public int Most { get; init; } = Experts;
}

/// <summary>What a number of an option's cannot exceed.</summary>
public enum Limit
{
    /// <summary>The number of experts.</summary>
    Experts,

    /// <summary>One less than the experts.</summary>
    ExpertsButOne,

    /// <summary>The rank.</summary>
    Ranks,
}

/// <summary>Bounds a key by the mixture's size; a first value beyond it becomes the bound.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class UpToAttribute(Limit limit) : Attribute
{
    /// <summary>The bound.</summary>
    public Limit Limit { get; } = limit;

    internal int In(RouterSize size) => Limit switch
    {
        Limit.Ranks => size.Rank,
        Limit.Experts => size.Experts,
        _ => Math.Max(1, size.Experts - 1),
    };
}

/// <summary>Settings of a router; each router's own record has a property with <see cref="KeyAttribute"/> for each
/// key.</summary>
public abstract record RouterOptions
{
    /// <summary>The router's name in <see cref="RouterCatalog"/>.</summary>
    public string Kind => RouterCatalog.Of(this).Kind;

    /// <summary>Whether ranks of one adapter are chosen instead of experts.</summary>
    public virtual bool RoutesRanks => false;

    /// <summary>The factor on the experts' output where the method sets it; null: alpha / r.</summary>
    public virtual double? ScaleOf(int rank) => null;

    /// <summary>Whether A learns.</summary>
    public virtual bool TrainsDown => true;

    /// <summary>Which matrices experts have in common.</summary>
    public virtual ExpertSharing Sharing => ExpertSharing.None;

    /// <summary>First values of A where the method has its own, [R, D] float32; null: as <c>init_lora_weights</c>
    /// says.</summary>
    /// <exception cref="Peft.Formats.UserException">The options do not fit this projection.</exception>
    public virtual Tensor? FirstDown(string path, int rank, long width, long seed) => null;

    /// <summary>Forward and backward passes of a training step over the same rows.</summary>
    public virtual int Passes => 1;

    /// <summary>Whether the projections of one attention block share a decision, made at the first of them.</summary>
    public virtual bool SharesInBlock => false;

    /// <summary>Whether an expert is a whole feed-forward, whose projections follow one decision; other projections
    /// have a plain LoRA.</summary>
    public virtual bool WholeFeedForward => false;

    /// <summary>How many slices of a frozen feed-forward are chosen instead of experts; null: none are.</summary>
    public virtual int? Slices => null;

    /// <summary>Whether it goes by what the frozen feed-forward makes of the tokens.</summary>
    public virtual bool NeedsFeedForward => false;

    /// <summary>Whether there is one adapter, of which parts are chosen.</summary>
    public bool HasOneAdapter => RoutesRanks || Slices is not null;

    /// <summary>Whether the projections of a feed-forward follow one decision; others have a plain LoRA.</summary>
    public bool RoutesFeedForward => WholeFeedForward || Slices is not null;

    /// <summary>The most experts that a token gets.</summary>
    public virtual int MostChosen(int experts) => experts;

    /// <summary>How many inputs a row of A is drawn for at first, of the width that it has.</summary>
    public virtual long FirstInputsOf(long width) => width;

    /// <summary>What runs before each pass, for routers that go by its result.</summary>
    public virtual PreliminaryPass Preliminary => PreliminaryPass.None;

    /// <summary>How it goes by the task of each row; null: it goes by the tokens alone.</summary>
    public virtual TaskRule? TaskRule(int experts) => null;

    /// <summary>Whether it goes by the attention of the block that its projection is in.</summary>
    public virtual bool NeedsAttention => false;

    /// <summary>Whether its projections must give as many values as they take.</summary>
    public virtual bool NeedsSquare => false;

    /// <summary>Why it cannot write a text token by token; null: it can.</summary>
    public virtual string? WhyNoDecoding => null;

    /// <summary>Weight of <see cref="PreservationLoss"/>, which holds the experts near their first values.</summary>
    public virtual double PreservationCoefficient => 0;

    /// <summary>The losses this method adds by itself; none for most.</summary>
    public virtual IReadOnlyList<AuxiliaryTerm> OwnLosses() => [];

    /// <summary>Keys of this section that do nothing as things are.</summary>
    public virtual IEnumerable<IneffectiveKey> Ineffective() => [];

    /// <summary>All losses on routing.</summary>
    public virtual IReadOnlyList<AuxiliaryTerm> Losses() => OwnLosses();

    /// <summary>The first values where they depend on the size, or on what the section says under other keys.</summary>
    protected virtual RouterOptions FirstValues(OptionReader reader, RouterSize size) => this;

    /// <summary>Notes what is wrong although every key by itself is right.</summary>
    protected virtual void Check(OptionReader reader, RouterSize size)
    {
    }

    /// <summary>These options with every key that a section has; faults go to the reader.</summary>
    internal RouterOptions Read(OptionReader reader, RouterSize size)
    {
        // Bound to an empty section they are copied, sections in them too.
        var empty = new OptionReader(null, "", new Faults());
        var first = empty.Bind(FirstValues(reader, size));
        foreach (var (_, key, owner, bound) in Bounded(first, empty, size))
            key.SetValue(owner, Math.Min((int)key.GetValue(owner)!, bound));
        var options = reader.Bind(first);
        foreach (var (section, key, owner, bound) in Bounded(options, reader, size))
        {
            if ((int)key.GetValue(owner)! is var value && value > bound)
                section.Fault(Keys.NameOf(key), $"{value}", $"a whole number from 1 to {bound}");
        }

        options.Check(reader, size);
        return options;
    }

    // The keys with a bound, those in sections too.
    private static IEnumerable<(OptionReader Section, PropertyInfo Key, object Owner, int Bound)> Bounded(
        object owner, OptionReader section, RouterSize size)
    {
        foreach (var property in owner.GetType().GetProperties().Where(p => p.IsDefined(typeof(KeyAttribute))))
        {
            if (property.GetCustomAttribute<UpToAttribute>() is { } bound)
                yield return (section, property, owner, bound.In(size));
            else if (property.GetValue(owner) is { } inner && Keys.Of(inner.GetType()).Count > 0)
            {
                foreach (var found in Bounded(inner, section.Section(Keys.NameOf(property)), size))
                    yield return found;
            }
        }
    }
}

/// <summary>Settings of a router that weighs experts, whose load can be balanced.</summary>
public abstract record ExpertRouterOptions : RouterOptions
{
    /// <summary>What keeps the experts busy.</summary>
    /// <value>Default none for most.</value>
    [Key]
    public BalanceOptions Balance { get; init; } = new();

    /// <summary>Whether experts are chosen by a score, so that a balance can move the choice.</summary>
    internal virtual bool ChoosesByScore => false;

    /// <summary>The fewest experts that a token gets of so many.</summary>
    internal virtual int FewestChosen(int experts) => 0;

    /// <summary>What leaves no probabilities to balance, as a setting; null: there are some.</summary>
    internal virtual string? WhyNoProbabilities => null;

    private BalanceOptions FirstBalance => ((ExpertRouterOptions)RouterCatalog.Of(this).First).Balance;

    /// <inheritdoc/>
    public sealed override IReadOnlyList<AuxiliaryTerm> Losses() => [.. OwnLosses(), .. Balance.Terms()];

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective() =>
        Balance.Ineffective(FirstBalance);

    /// <summary>The balance where it does nothing among so many experts, though it is not the method's own.</summary>
    internal IEnumerable<IneffectiveKey> IneffectiveBalance(int experts)
    {
        const string Key = "balance.kind";
        // The loss is the number of experts there, whatever the router does.
        var takesAll = FewestChosen(experts) == experts && Balance.Kind == BalanceOptions.Switch;
        return
        [
            .. IneffectiveKey.If(
                WhyNoProbabilities is not null, Key, Balance.Kind, FirstBalance.Kind, WhyNoProbabilities ?? ""),
            .. IneffectiveKey.If(
                takesAll && WhyNoProbabilities is null, Key, Balance.Kind, FirstBalance.Kind,
                $"kind: {Kind}, where every token gets all experts"),
        ];
    }

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        if (Balance.MovesChoice && !ChoosesByScore)
        {
            var movable = RouterCatalog.Entries
                .Where(entry => entry.First is ExpertRouterOptions { ChoosesByScore: true })
                .Select(entry => entry.Kind);
            reader.Section("balance").Fault(
                "kind", $"'{Balance.Kind}'", "none, switch or localized",
                $"it moves the choice of router: {Words.OneOf([.. movable])}; {Kind} has none to move");
        }
    }
}
