namespace Peft.Adapters.Routing;

/// <summary>What a router is made for.</summary>
/// <param name="Path">Path of the wrapped projection; part of the seed's name and of messages.</param>
/// <param name="Width">Input width D.</param>
/// <param name="Experts">Number of experts E.</param>
/// <param name="Rank">Rank R of each expert.</param>
/// <param name="Seed">Seed of the run; each parameter draws from its own stream, named by its path.</param>
/// <param name="Down">The projection's stacked A, [E·R, D], for routers that choose by it; null where a router is made alone.</param>
/// <param name="Shared">Parts that several routers of one model use together; null where a router is made alone.</param>
public sealed record RouterContext(
    string Path, long Width, int Experts, int Rank, long Seed, Parameter? Down = null, SharedParts? Shared = null);

/// <summary>Experts and rank that a router's options are read for.</summary>
/// <param name="Experts">Experts of the smallest routed layer.</param>
/// <param name="Rank">Rank of each.</param>
public sealed record RouterSize(int Experts, int Rank);

/// <summary>Parts of routers that belong to several projections: the first router that asks makes and registers it.</summary>
public sealed class SharedParts
{
    private readonly Dictionary<string, object> _parts = [];

    /// <summary>The part of a name; <paramref name="isOwner"/> tells the router that has to register it.</summary>
    public T Get<T>(string name, Func<T> make, out bool isOwner)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(make);
        isOwner = !_parts.TryGetValue(name, out var part);
        if (isOwner)
            _parts[name] = part = make();
        return (T)part!;
    }
}
