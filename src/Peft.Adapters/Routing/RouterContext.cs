namespace Peft.Adapters.Routing;

/// <summary>What a router is made for.</summary>
/// <param name="Path">Path of the wrapped projection; part of the seed's name and of messages.</param>
/// <param name="Width">Input width D.</param>
/// <param name="Experts">Number of experts E.</param>
/// <param name="Rank">Rank R of each expert.</param>
/// <param name="Seed">Seed of the run; each parameter draws from its own stream, named by its path.</param>
public sealed record RouterContext(string Path, long Width, int Experts, int Rank, long Seed);
