using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Models;

namespace Peft.Evaluation.Scoring;

/// <summary>
/// Log-likelihoods of what may follow a prompt. What the continuations of one prompt share is computed once.
/// </summary>
/// <remarks>
/// A group's sequences have a common beginning. It runs once, through a key-value cache; its last activations give
/// every first token's probability, and only continuations of several tokens run further, on copies of the cache's
/// rows. B groups, M such continuations. Different batches give the same numbers but for the rounding of float32.
/// </remarks>
public static class ContinuationScorer
{
    private const int HeadRows = 1024; // positions whose logits are held at once

    /// <summary>The log-likelihood of each sequence's scored tokens.</summary>
    /// <param name="model">The model.</param>
    /// <param name="groups">Groups of sequences that begin alike; a group of one is a plain sequence.</param>
    /// <param name="taskId">Task of all of them, for routers that go by task.</param>
    /// <param name="isWhole">Whether each sequence is run in one pass: for routers that need later tokens too, which
    /// cannot go on from a beginning.</param>
    /// <returns>For each sequence of each group the sum over its scored tokens, in nats.</returns>
    /// <remarks>Gradient: none. Errors: UserException when a log-likelihood is NaN.</remarks>
    public static IReadOnlyList<double[]> Score(
        CausalLanguageModel model, IReadOnlyList<IReadOnlyList<ScoredSequence>> groups, long? taskId = null,
        bool isWhole = false)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        // Sequences that do not begin alike (another cut of a long prompt, other contexts) have nothing to compute
        // once.
        var parts = groups.SelectMany(IEnumerable<IReadOnlyList<ScoredSequence>> (group) =>
            !isWhole && Shared(group) > 0 ? [group]
                : group.Select(sequence => (IReadOnlyList<ScoredSequence>)[sequence]));
        var scores = parts.Chunk(groups.Count).SelectMany(chunk => ScoreTogether(model, chunk, taskId, isWhole))
            .SelectMany(own => own);
        using var all = scores.GetEnumerator();
        var sums = groups.Select(group => group.Select(_ => all.MoveNext() ? all.Current : double.NaN).ToArray())
            .ToArray();
        if (sums.Any(group => group.Any(double.IsNaN)))
        {
            throw UserException.At(
                "evaluation", "a log-likelihood is NaN", "finite numbers",
                "the weights of the base or of the adapter are damaged, or overflow in their type: try --dtype "
                    + "float32");
        }
        return sums;
    }

    // Groups that each share a beginning.
    private static double[][] ScoreTogether(
        CausalLanguageModel model, IReadOnlyList<IReadOnlyList<ScoredSequence>> groups, long? taskId, bool isWhole)
    {
        var shared = groups.Select(group => isWhole ? 0 : Shared(group)).ToArray();
        var all = groups
            .SelectMany((group, g) => group.Select((sequence, s) => new Rest(g, s, sequence, shared[g]))).ToList();
        var longer = all.Where(rest => rest.Length > 0).ToList();
        var sums = groups.Select(group => new double[group.Count]).ToArray();
        var most = all.Max(rest => rest.Length);
        if (isWhole)
        {
            ScoreRest(model, shared, longer, most, sums, null, taskId);
            return sums;
        }
        using var cache = new KeyValueCache(model.Config.LayerCount, shared.Max() + most);
        ScoreFirst(model, groups, shared, all, sums, cache, taskId);
        if (longer.Count > 0)
        {
            using var copies = cache.Select([.. longer.Select(rest => (long)rest.Group)], most);
            ScoreRest(model, shared, longer, most, sums, copies, taskId);
        }
        return sums;
    }

    /// <summary>
    /// How many tokens all sequences of a group begin with before any of them is scored; 0 where they share none.
    /// </summary>
    internal static int Shared(IReadOnlyList<ScoredSequence> group)
    {
        var most = group.Min(sequence => sequence.From);
        foreach (var sequence in group.Skip(1))
        {
            var at = 0;
            while (at < most && sequence.Ids[at] == group[0].Ids[at])
                at++;
            most = at;
        }
        return most;
    }

    // Runs the common beginnings, padded on the left, and reads the first scored tokens off their last position.
    private static void ScoreFirst(
        CausalLanguageModel model, IReadOnlyList<IReadOnlyList<ScoredSequence>> groups, int[] shared, List<Rest> all,
        double[][] sums,
        KeyValueCache cache, long? taskId)
    {
        var (B, T) = (groups.Count, shared.Max());
        var ids = new long[B * T];
        var positions = new long[B * T];
        for (var row = 0; row < B; row++)
        {
            for (var at = 0; at < shared[row]; at++)
            {
                var column = row * T + T - shared[row] + at;
                (ids[column], positions[column]) = (groups[row][0].Ids[at], at);
            }
        }
        var mask = KeyMask(shared, [.. Enumerable.Range(0, B)], T, T)?.to(model.Device);                     // [B, T]
        var pass = Pass(model, cache, positions, B, T, mask, mask, taskId);
        var hidden = model.Hidden(torch.tensor(ids, [B, T], device: model.Device), pass).select(1, T - 1);   // [B, D]
        var first = all.Where(rest => rest.Sequence.From == rest.Shared).ToList();
        Add(sums, first, LogProbabilities(
            model, hidden, taskId, [.. first.Select(rest => (long)rest.Group)],
            [.. first.Select(rest => (long)rest.Sequence.Ids[rest.Shared])]));
    }

    // Runs what comes after, padded on the right, where causality hides it.
    private static void ScoreRest(
        CausalLanguageModel model, int[] shared, List<Rest> longer, int T, double[][] sums, KeyValueCache? cache,
        long? taskId)
    {
        var M = longer.Count;
        var ids = new long[M * T];
        var positions = new long[M * T];
        var real = new bool[M * T];
        var (index, targets, owners) = (new List<long>(), new List<long>(), new List<Rest>());
        for (var row = 0; row < M; row++)
        {
            var (sequence, from) = (longer[row].Sequence, longer[row].Shared);
            for (var t = 0; t < longer[row].Length; t++)
            {
                var column = row * T + t;
                (ids[column], positions[column], real[column]) = (sequence.Ids[from + t], from + t, true);
                if (from + t + 1 < sequence.From)
                    continue;
                index.Add(column);
                targets.Add(sequence.Ids[from + t + 1]);
                owners.Add(longer[row]);
            }
        }
        // [M, S].
        var mask = KeyMask(
            shared, [.. longer.Select(rest => rest.Group)], cache?.Length ?? 0, (cache?.Length ?? 0) + T)
            ?.to(model.Device);
        var pass = Pass(model, cache, positions, M, T, mask, torch.tensor(real, [M, T], device: model.Device), taskId);
        // [M T, D].
        var hidden = model.Hidden(torch.tensor(ids, [M, T], device: model.Device), pass).reshape((long)M * T, -1);
        Add(sums, owners, LogProbabilities(model, hidden, taskId, [.. index], [.. targets]));
    }

    // Columns before a group's own beginning are padding; all behind are seen. Null: nothing is padded.
    private static Tensor? KeyMask(int[] shared, int[] groups, long prefix, long keys)
    {
        if (groups.All(group => shared[group] == prefix))
            return null;
        var visible = new bool[groups.Length * keys];
        for (var row = 0; row < groups.Length; row++)
        {
            var own = keys - prefix + shared[groups[row]];
            visible.AsSpan((int)((row + 1) * keys - own), (int)own).Fill(true);
        }
        return torch.tensor(visible, [groups.Length, keys]);
    }

    private static ForwardPass Pass(
        CausalLanguageModel model, KeyValueCache? cache, long[] positions, int B, int T, Tensor? keyMask,
        Tensor? tokenMask, long? taskId) =>
        ForwardPass.ForInference(
            cache, ForwardPass.TaskIdsOf(taskId, B, model.Device), tokenMask,
            torch.tensor(positions, [B, T], device: model.Device), keyMask);

    /// <summary>Log-probabilities of one token at each of some positions.</summary>
    /// <remarks>Shapes: hidden [N, D]; index and targets [M] → [M]. Units: nats, the log-softmax in float32.</remarks>
    private static double[] LogProbabilities(
        CausalLanguageModel model, Tensor hidden, long? taskId, long[] index, long[] targets)
    {
        var values = new double[index.Length];
        for (var from = 0; from < index.Length; from += HeadRows)
        {
            using var scope = torch.NewDisposeScope();
            var count = Math.Min(HeadRows, index.Length - from);
            // [M, D].
            var rows = hidden.index_select(
                0, torch.tensor(index[from..(from + count)], [count], device: hidden.device));
            // [M, V].
            var pass = ForwardPass.ForInference(taskIds: ForwardPass.TaskIdsOf(taskId, count, model.Device));
            var logits = model.Head(rows, pass).to(ScalarType.Float32).log_softmax(-1);
            var chosen = logits.gather(
                1, torch.tensor(targets[from..(from + count)], [count, 1], device: hidden.device)).reshape(-1);
            foreach (var (at, value) in chosen.Values<float>().Index())
                values[from + at] = value;
        }
        return values;
    }

    private static void Add(double[][] sums, List<Rest> owners, double[] values)
    {
        for (var i = 0; i < values.Length; i++)
            sums[owners[i].Group][owners[i].Index] += values[i];
    }

    // What a sequence has beyond the beginning that is shared; its last token is never an input.
    private sealed record Rest(int Group, int Index, ScoredSequence Sequence, int Shared)
    {
        public int Length => Sequence.Ids.Count - 1 - Shared;
    }
}
