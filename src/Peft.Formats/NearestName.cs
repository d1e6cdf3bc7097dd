namespace Peft.Formats;

/// <summary>Finds the name that was probably meant by a misspelt one.</summary>
public static class NearestName
{
    // Beyond this no typing mistake is to be repaired, and the table of the distance would grow with hostile input.
    private const int LongestName = 128;

    /// <summary>
    /// The known name nearest to <paramref name="given"/> by Damerau-Levenshtein distance (case ignored), or null when
    /// none is nearer than a third of the length. Ties go to the name that comes first.
    /// </summary>
    public static string? Of(string given, IEnumerable<string> known)
    {
        if (given.Length is 0 or > LongestName)
            return null;
        string? nearest = null;
        var lower = given.ToLowerInvariant();
        var best = int.MaxValue;
        foreach (var name in known)
        {
            if (name.Length is 0 or > LongestName)
                continue;
            var limit = Math.Max(1, Math.Max(given.Length, name.Length) / 3);
            if (Math.Abs(given.Length - name.Length) > limit)
                continue;
            var distance = Distance(lower, name.ToLowerInvariant());
            if (distance <= limit && distance < best)
                (nearest, best) = (name, distance);
        }

        return nearest;
    }

    /// <summary>The advice for a name that is not known: "did you mean ...?"; null where none is near.</summary>
    public static string? Question(string given, IEnumerable<string> known) => Question([given], known);

    /// <summary>The same for several names, of those that have a near one.</summary>
    public static string? Question(IEnumerable<string> given, IEnumerable<string> known) =>
        given.Select(name => Of(name, known)).OfType<string>().Distinct().ToList() is { Count: > 0 } near
            ? $"did you mean {Words.AllOf(near)}?"
            : null;

    // Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours each cost one.
    private static int Distance(string from, string to)
    {
        var cost = new int[from.Length + 1, to.Length + 1];
        for (var i = 0; i <= from.Length; i++)
            cost[i, 0] = i;
        for (var j = 0; j <= to.Length; j++)
            cost[0, j] = j;
        for (var i = 1; i <= from.Length; i++)
        {
            for (var j = 1; j <= to.Length; j++)
            {
                var substitution = cost[i - 1, j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
                cost[i, j] = Math.Min(substitution, Math.Min(cost[i - 1, j], cost[i, j - 1]) + 1);
                var swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
                if (swapped)
                    cost[i, j] = Math.Min(cost[i, j], cost[i - 2, j - 2] + 1);
            }
        }

        return cost[from.Length, to.Length];
    }
}
