using System.Globalization;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Recipes;

namespace Peft.Compare;

/// <summary>The rank with which a recipe trains as many values as the others: one for all projections, and one more for
/// some of
/// them, where a step of the rank of all is too coarse.</summary>
/// <param name="Rank">Rank of each expert.</param>
/// <param name="Raised">Projections whose rank is one more.</param>
/// <param name="Trainable">Values that this trains.</param>
/// <param name="Overrides">What says so to <c>peft train --set</c>.</param>
internal sealed record RankChoice(int Rank, IReadOnlyList<string> Raised, long Trainable,
    IReadOnlyList<string> Overrides)
{
    public string Words => Raised.Count == 0 ? $"{Rank}" : $"{Rank} ({Rank + 1}: {string.Join(", ", Raised)})";

    /// <summary>
    /// Solves for the rank. Values grow linearly with the rank but for the routers' own, so two attachments tell.
    /// </summary>
    public static RankChoice For(string recipeFile, IReadOnlyList<string> sets, long wanted, bool keepsAlpha)
    {
        var recipe = Recipe.Load(recipeFile, sets);
        var (r0, alpha0) = (recipe.AdapterOptions!.R, recipe.AdapterOptions.LoraAlpha);
        var kept = recipe.AdapterOptions.Router switch
        {
            RandomProjectionRouterOptions router => router.TopK,
            SmoraRouterOptions router => router.TopK,
            _ => (int?)null,
        };
        var low = Count(r0);
        var slope = (double)(Count(2 * r0) - low) / r0;
        // The largest rank that does not exceed the wanted number; what is left goes to single projections.
        var rank = r0 + (int)Math.Floor((wanted - low) / slope);
        if (rank < 1)
            throw new InvalidOperationException(
                $"{recipeFile}: rank 1 trains more than {wanted:N0} values; ask for more");
        var floor = Counts(Overrides(rank, []));
        var steps = Counts(Overrides(rank + 1, [])).ToDictionary(pair => pair.Key,
            pair => pair.Value - floor.GetValueOrDefault(pair.Key));
        var raised = Nearest(steps, wanted - floor.Values.Sum());
        var overrides = Overrides(rank, raised);
        return new(rank, raised, Counts(overrides).Values.Sum(), overrides);

        long Count(int r) => Counts(Overrides(r, [])).Values.Sum();

        // Alpha and the ranks that work (random-projection, smora) keep their share of the rank.
        IReadOnlyList<string> Overrides(int r, IReadOnlyList<string> modules)
        {
            List<string> keys = [$"adapter.r={r}", $"adapter.lora_alpha={Alpha(r)}"];
            if (kept is { } k)
                keys.Add($"adapter.router.top_k={Math.Max(1, (int)Math.Round((double)k * r / r0))}");
            if (modules.Count > 0)
            {
                var ranks = modules.Select(module => $"{module}: {r + 1}");
                var alphas = modules.Select(module => $"{module}: {Alpha(r + 1)}");
                keys.Add($"adapter.rank_pattern={{{string.Join(", ", ranks)}}}");
                keys.Add($"adapter.alpha_pattern={{{string.Join(", ", alphas)}}}");
            }
            return keys;
        }

        string Alpha(int r) => (keepsAlpha ? alpha0 : alpha0 * r / r0).ToString("0.####", CultureInfo.InvariantCulture);

        Dictionary<string, long> Counts(IReadOnlyList<string> overrides)
        {
            var changed = Recipe.Load(recipeFile, [.. sets, .. overrides]);
            using var model = LoadedModel.OpenBase(changed.Paths.Resolve(changed.Model.Directory), changed.Model.Dtype,
                torch.CPU);
            var adapted = AdapterAttachment.Attach(model, changed.AdapterOptions!, changed.Training.Seed);
            return adapted.TrainableParameterCounts.GroupBy(pair => pair.Path[(pair.Path.LastIndexOf('.') + 1)..],
                StringComparer.Ordinal)
                .ToDictionary(group => group.Key, group => group.Sum(pair => pair.Count), StringComparer.Ordinal);
        }
    }

    // Some seven kinds of projections: every choice of them is tried.
    private static List<string> Nearest(Dictionary<string, long> steps, long missing)
    {
        var names = steps.Keys.Order(StringComparer.Ordinal).ToList();
        var best = Enumerable.Range(0,
            1 << names.Count).MinBy(choice =>
            Math.Abs(missing - names.Where((_, i) => (choice >> i & 1) == 1).Sum(name => steps[name])));
        return [.. names.Where((_, i) => (best >> i & 1) == 1)];
    }
}

/// <summary>The rank of every arm in every setting, solved for once.</summary>
internal sealed class RankChoices
{
    private readonly Dictionary<(string Recipe, string Sets, long Parameters), RankChoice> _found = [];

    /// <summary>The rank with which an arm trains a setting's number of values.</summary>
    public RankChoice Of(Setting setting, Arm arm)
    {
        var stage = arm.Stages[0];
        List<string> sets = [.. stage.SetsIn(setting)];
        var key = (stage.Recipe ?? setting.Recipe, string.Join('\n', sets), setting.Parameters);
        lock (_found)
        {
            if (!_found.TryGetValue(key, out var rank))
                _found.Add(key, rank = RankChoice.For(key.Item1, sets, setting.Parameters, arm.KeepsAlpha));
            return rank;
        }
    }
}
