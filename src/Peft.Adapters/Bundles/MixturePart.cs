using System.Globalization;
using Peft.Adapters.Lora;

namespace Peft.Adapters.Bundles;

/// <summary>What one directory of an exported mixture holds: one expert, or the projections that are not routed.</summary>
/// <param name="Name">The directory's name.</param>
/// <param name="Expert">The expert; null for the part that every token gets.</param>
/// <param name="Modules">The projections that have it.</param>
public sealed record MixturePart(string Name, int? Expert, IReadOnlyList<MixtureProjection> Modules)
{
    /// <summary>Directory of the projections without a router.</summary>
    public const string Shared = "shared";

    private const string ExpertPrefix = "expert_";

    /// <summary>Directory of an expert.</summary>
    public static string NameOf(int expert) => ExpertPrefix + expert.ToString(CultureInfo.InvariantCulture);

    /// <summary>Whether a directory of an exported mixture may have this name.</summary>
    public static bool IsName(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name == Shared
            || name.StartsWith(ExpertPrefix, StringComparison.Ordinal)
            && int.TryParse(name.AsSpan(ExpertPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var expert)
            && expert < ExpertOptions.Most
            && NameOf(expert) == name;
    }

    /// <summary>The parts of a mixture: the shared one first where there is one, then the experts.</summary>
    public static IReadOnlyList<MixturePart> Of(AdaptedModel adapted)
    {
        ArgumentNullException.ThrowIfNull(adapted);
        var parts = new List<MixturePart>();
        if (adapted.Modules.Where(module => module.Router is null).ToList() is { Count: > 0 } shared)
            parts.Add(new MixturePart(Shared, null, shared));
        var routed = adapted.Modules.Where(module => module.Router is not null).ToList();
        for (var expert = 0; expert < routed.Select(module => module.Shape.Experts).DefaultIfEmpty(0).Max(); expert++)
            parts.Add(new MixturePart(NameOf(expert), expert, [.. routed.Where(module => module.Shape.Experts > expert)]));
        return parts;
    }
}
