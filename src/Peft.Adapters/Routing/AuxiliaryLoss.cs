using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>One term of the auxiliary loss.</summary>
/// <param name="Name">Its name in metrics.</param>
/// <param name="Coefficient">Its weight in the total.</param>
/// <param name="Of">The unweighted loss from the records of a pass and what is known of its tokens.</param>
public sealed record AuxiliaryTerm(
    string Name, double Coefficient, Func<IReadOnlyList<RoutingRecord>, RoutedTokens, Tensor> Of);

/// <summary>What is known of the tokens of a pass.</summary>
/// <param name="Mask">[N] bool, true = real token; null: all are.</param>
/// <param name="TaskIds">[B] int64, task of each row; null: unknown.</param>
public sealed record RoutedTokens(Tensor? Mask, Tensor? TaskIds = null)
{
    /// <summary>Which part of the batch they are, where several ranks compute it; null: all of it.</summary>
    public BatchShare? Share { get; init; }

    /// <summary>A mask of the whole batch; null: all are real.</summary>
    public static implicit operator RoutedTokens?(Tensor? mask) => mask is null ? null : new(mask);

    /// <summary>The same tokens several times over, for modules that are pooled.</summary>
    public RoutedTokens Repeated(int times) => this with { Mask = Mask?.repeat(times) };

    /// <summary>The same with padding counted.</summary>
    public RoutedTokens WithPadding() => this with { Mask = null };
}

/// <summary>The losses on routing that the options ask for, added up.</summary>
public sealed class AuxiliaryLoss
{
    private AuxiliaryLoss(IReadOnlyList<AuxiliaryTerm> terms) => Terms = terms;

    /// <summary>The terms; none for plain LoRA and for routers without a loss.</summary>
    public IReadOnlyList<AuxiliaryTerm> Terms { get; }

    /// <summary>The router's own losses, then the balance loss.</summary>
    public static AuxiliaryLoss From(RouterOptions? router) =>
        new(router?.Losses() ?? []);

    /// <summary>The weighted sum of all terms, or null where there is nothing to add.</summary>
    /// <remarks>
    /// Shapes: mask [B, T] or [N] bool, true = real token; taskIds [B] int64; scalar float32.
    /// Gradient: through the records' probabilities. Padding never counts, unless a method's own option says so.
    /// </remarks>
    /// <param name="records">The modules of the pass.</param>
    /// <param name="mask">Real tokens.</param>
    /// <param name="taskIds">The rows' tasks.</param>
    /// <param name="share">Which part of the batch they are; null: all of it.</param>
    public Tensor? Of(
        IReadOnlyList<RoutingRecord> records, Tensor? mask, Tensor? taskIds = null, BatchShare? share = null)
    {
        var learned = records.Where(record => record.Decision.Probabilities is not null).ToList();
        if (Terms.Count == 0 || learned.Count == 0)
            return null;
        var tokens = new RoutedTokens(mask?.reshape(-1), taskIds) { Share = share };
        Tensor? total = null;
        foreach (var term in Terms)
        {
            var value = term.Of(learned, tokens) * term.Coefficient;
            total = total is null ? value : total + value;
        }
        return total;
    }
}

/// <summary>Means over real tokens: padding has weight zero.</summary>
public static class TokenMean
{
    /// <summary>The mean of every column over the real tokens.</summary>
    /// <remarks>Shapes: values [N, E], tokens.Mask [N] bool or null → [E]. Gradient: through values.</remarks>
    public static Tensor OfRows(Tensor values, RoutedTokens? tokens)
    {
        var mask = tokens?.Mask;
        if (tokens?.Share is { } share)
            return OfShare(values, mask, share);
        if (mask is null)
            return values.mean([0]);
        var weight = mask.reshape(-1, 1).to(torch.float32);
        // A batch of padding only has mean zero, not 0 / 0.
        return (values * weight).sum(0L) / weight.sum().clamp(min: 1);
    }

    // One sum over the ranks for the values and their number.
    private static Tensor OfShare(Tensor values, Tensor? mask, BatchShare share)
    {
        var weight = mask is null ? torch.ones([values.shape[0], 1], torch.float32, values.device)
            : mask.reshape(-1, 1).to(torch.float32);
        var sums = share.Sum(torch.cat([(values * weight).sum(0L), weight.sum().reshape(1)], 0)); // [E + 1]
        return sums.narrow(0, 0, values.shape[1]) / sums.narrow(0, values.shape[1], 1).clamp(min: 1);
    }
}

/// <summary>Means over modules: those of equally many experts stand side by side, so that one loss serves all of
/// them.</summary>
public static class ModuleMean
{
    /// <summary>The mean over the modules of a pass.</summary>
    /// <remarks>Shapes: records of [N, E] → scalar.</remarks>
    /// <param name="records">The modules; not none.</param>
    /// <param name="sum">The sum of the losses of modules with equally many experts.</param>
    public static Tensor Of(IReadOnlyList<RoutingRecord> records, Func<IReadOnlyList<RoutingRecord>, Tensor> sum) =>
        records.GroupBy(record => record.Experts).Select(alike => sum([.. alike]))
            .Aggregate((total, one) => total + one) / records.Count;

    /// <summary>One tensor of every module, side by side.</summary>
    /// <remarks>Shapes: M of [N, E] → [N, M·E].</remarks>
    public static Tensor Beside(IReadOnlyList<RoutingRecord> alike, Func<RoutingRecord, Tensor> tensor) =>
        torch.cat([.. alike.Select(tensor)], 1);
}
