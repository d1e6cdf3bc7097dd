using System.Globalization;
using Peft.Formats;
using Peft.Models.Layers;

namespace Peft.Models;

/// <summary>Continues token ids with a model, one token at a time through a key-value cache.</summary>
public static class TextGeneration
{
    /// <summary>Continues one prompt; each token is yielded as soon as it is chosen. The token that ends the text is
    /// yielded too.</summary>
    /// <exception cref="UserException">The prompt is empty, too long or has ids the model lacks, or an option is out of
    /// range.</exception>
    public static IEnumerable<int> Generate(
        CausalLanguageModel model, IReadOnlyList<int> ids, GenerationOptions options)
    {
        Check(model, [ids], options);
        return Stream(model, [ids], options).Select(token => token.Id);
    }

    /// <summary>Continues several prompts together; row i of the result continues prompt i and equals what
    /// <see cref="Generate"/> gives for it.</summary>
    /// <exception cref="UserException">As for <see cref="Generate"/>.</exception>
    public static IReadOnlyList<IReadOnlyList<int>> GenerateBatch(
        CausalLanguageModel model, IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions options)
    {
        var rows = prompts.Select(_ => new List<int>()).ToArray();
        foreach (var (row, id) in StreamBatch(model, prompts, options))
            rows[row].Add(id);
        return rows;
    }

    /// <summary>Continues several prompts together; yields each token with its row as soon as it is chosen.</summary>
    /// <exception cref="UserException">As for <see cref="Generate"/>.</exception>
    public static IEnumerable<(int Row, int Id)> StreamBatch(
        CausalLanguageModel model, IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions options)
    {
        Check(model, prompts, options);
        return Stream(model, prompts, options);
    }

    private static IEnumerable<(int Row, int Id)> Stream(
        CausalLanguageModel model, IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions options)
    {
        if (prompts.Count == 0)
            yield break;
        var longest = prompts.Max(prompt => prompt.Count);
        var limit = Math.Min(options.MaxNewTokens, model.Config.MaxPositionEmbeddings - longest);
        var ends = (options.EosTokenIds ?? model.Config.EosTokenIds).ToHashSet();
        KeyValueCache? cache = null;
        var streams = options.Temperature == 0 ? [] : RandomStreams(prompts, options.Seed);
        try
        {
            cache = new KeyValueCache(model.Config.LayerCount, longest + Math.Min(limit, 256));
            var batch = new PaddedPrompts(prompts, options.TaskId);
            var made = options.IsFinished is null ? [] : prompts.Select(_ => new List<int>()).ToArray();
            // prompt of each row of the batch
            var rows = Enumerable.Range(0, prompts.Count).ToArray();
            var next = new int[prompts.Count];
            var running = Enumerable.Repeat(true, prompts.Count).ToArray();
            for (var step = 0; step < limit && running.Contains(true); step++)
            {
                var logits = step == 0 ? batch.Prefill(model, cache) : batch.Decode(model, cache, next);
                for (var row = 0; row < next.Length; row++)
                {
                    if (!running[row])
                        continue;
                    var own = rows[row];
                    next[row] = TokenSampler.Choose(logits.Row(row), options, () => TokenSampler.Uniform(streams[own]));
                    running[row] = !ends.Contains(next[row]) && !IsFinished(own, next[row]);
                    yield return (own, next[row]);
                }

                // Rows that have ended cost as much as others: when they are half of the batch it goes on without them.
                if (running.Count(on => on) is var left && left > 0 && 2 * left <= running.Length)
                {
                    long[] kept = [
                        .. Enumerable.Range(0, running.Length).Where(row => running[row]).Select(row => (long)row)];
                    batch.Keep(kept);
                    var smaller = cache.Select(kept, Math.Max(1, Math.Min(limit - step, 256)));
                    cache.Dispose();
                    cache = smaller;
                    rows = [.. kept.Select(row => rows[row])];
                    next = [.. kept.Select(row => next[row])];
                    running = [.. kept.Select(_ => true)];
                }
            }

            bool IsFinished(int prompt, int id)
            {
                if (options.IsFinished is null)
                    return false;
                made[prompt].Add(id);
                return options.IsFinished(made[prompt]);
            }
        }
        finally
        {
            cache?.Dispose();
            foreach (var stream in streams)
                stream.Dispose();
        }
    }

    // Equal prompts in one batch get streams of their own; the first equals that of the prompt alone.
    private static Generator[] RandomStreams(IReadOnlyList<IReadOnlyList<int>> prompts, long seed)
    {
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        return [.. prompts.Select(prompt =>
        {
            var key = string.Join(',', prompt);
            var before = seen[key] = seen.GetValueOrDefault(key) + 1;
            return Seeds.GeneratorFor(seed, string.Create(CultureInfo.InvariantCulture, $"generate {before} {key}"));
        })];
    }

    private static void Check(
        CausalLanguageModel model, IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions options)
    {
        var faults = new Faults();
        if (options.MaxNewTokens < 1)
            faults.Add("max_new_tokens", Found(options.MaxNewTokens), "1 or more");
        if (!(options.Temperature >= 0) || !double.IsFinite(options.Temperature))
            faults.Add("temperature", Found(options.Temperature), "0 (greedy) or more");
        if (!(options.TopP > 0 && options.TopP <= 1))
            faults.Add("top_p", Found(options.TopP), "above 0, up to 1");
        if (options.TopK < 0)
            faults.Add("top_k", Found(options.TopK), "0 (all tokens) or more");
        foreach (var prompt in prompts)
        {
            if (prompt.Count == 0)
                faults.Add("prompt", "no tokens", "at least one token", "begin with the model's bos token");
            if (prompt.Count >= model.Config.MaxPositionEmbeddings)
                faults.Add("prompt", $"{prompt.Count} tokens",
                    $"fewer than the model's {model.Config.MaxPositionEmbeddings} positions");
        }

        faults.ThrowIfAny("generation");
        foreach (var prompt in prompts)
            model.Config.CheckIds(prompt);
    }

    private static string Found(double value) => value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>How text is generated.</summary>
public sealed record GenerationOptions
{
    /// <summary>Most tokens to add.</summary>
    /// <value>128 by default; at least 1.</value>
    public int MaxNewTokens { get; init; } = 128;

    /// <summary>Divides the logits before sampling.</summary>
    /// <value>0 by default: the likeliest token each time (greedy); 0.7 to 1 is usual for text.</value>
    public double Temperature { get; init; }

    /// <summary>Samples from the smallest set of likeliest tokens that holds this much probability.</summary>
    /// <value>1 by default: all tokens; above 0.</value>
    public double TopP { get; init; } = 1;

    /// <summary>Samples from this many likeliest tokens.</summary>
    /// <value>0 by default: all tokens.</value>
    public int TopK { get; init; }

    /// <summary>Seed of sampling; a prompt's stream depends on it and on the prompt, not on the batch around
    /// it.</summary>
    /// <value>0 by default.</value>
    public long Seed { get; init; }

    /// <summary>Tokens that end a text.</summary>
    /// <value>null by default: the model's own; empty: none.</value>
    public IReadOnlyList<int>? EosTokenIds { get; init; }

    /// <summary>Task of all prompts, for routers that go by task.</summary>
    /// <value>null by default: none.</value>
    public long? TaskId { get; init; }

    /// <summary>Asked after each token of a prompt's continuation whether that continuation ends there.</summary>
    /// <value>null by default: only <see cref="EosTokenIds"/> end a text.</value>
    public Func<IReadOnlyList<int>, bool>? IsFinished { get; init; }
}

/// <summary>Prompts of several lengths as one batch: padded on the left, so that every row's next token stands in the
/// same column.</summary>
/// <remarks>Each forward runs in a dispose scope of its own and gives plain numbers back.</remarks>
internal sealed class PaddedPrompts
{
    private readonly int _longest;
    private readonly long? _taskId;
    private IReadOnlyList<IReadOnlyList<int>> _prompts;
    private readonly bool _isRagged;
    private float[] _logits = [];

    public PaddedPrompts(IReadOnlyList<IReadOnlyList<int>> prompts, long? taskId)
    {
        _prompts = prompts;
        _taskId = taskId;
        _longest = prompts.Max(prompt => prompt.Count);
        _isRagged = prompts.Any(prompt => prompt.Count != _longest);
    }

    /// <summary>Runs the prompts; logits of the last position of each row.</summary>
    public NextLogits Prefill(CausalLanguageModel model, KeyValueCache cache)
    {
        var (B, T) = (_prompts.Count, _longest);
        var ids = new long[B * T];
        var positions = new long[B * T];
        for (var row = 0; row < B; row++)
        {
            var padding = T - _prompts[row].Count;
            for (var column = padding; column < T; column++)
            {
                ids[(row * T) + column] = _prompts[row][column - padding];
                positions[(row * T) + column] = column - padding;
            }
        }

        return Run(model, cache, ids, positions, T);
    }

    /// <summary>Goes on with some of the rows alone; the cache is to be chosen likewise.</summary>
    public void Keep(IReadOnlyList<long> rows) => _prompts = [.. rows.Select(row => _prompts[(int)row])];

    /// <summary>Runs one new token of each row.</summary>
    public NextLogits Decode(CausalLanguageModel model, KeyValueCache cache, int[] next)
    {
        var ids = next.Select(id => (long)id).ToArray();
        var positions = _prompts.Select(prompt => cache.Length - _longest + prompt.Count).ToArray();
        return Run(model, cache, ids, positions, 1);
    }

    private NextLogits Run(CausalLanguageModel model, KeyValueCache cache, long[] ids, long[] positions, int T)
    {
        using var scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        var B = _prompts.Count;
        var keys = cache.Length + T;
        var mask = _isRagged ? KeyMask(keys).to(model.Device) : null; // [B, S]
        var pass = ForwardPass.ForInference(
            cache,
            taskIds: ForwardPass.TaskIdsOf(_taskId, B, model.Device),
            tokenMask: mask?.narrow(1, cache.Length, T),
            positions: torch.tensor(positions, [B, T]).to(model.Device),
            keyMask: mask);
        var hidden = model.Hidden(torch.tensor(ids, [B, T]).to(model.Device), pass).narrow(1, T - 1, 1); // [B, 1, D]
        TokenSampler.Copy(model.Head(hidden, pass), ref _logits);
        return new(_logits, B);
    }

    private Tensor KeyMask(long keys)
    {
        var visible = new bool[_prompts.Count * keys];
        for (var row = 0; row < _prompts.Count; row++)
        {
            for (long column = _longest - _prompts[row].Count; column < keys; column++)
                visible[(row * keys) + column] = true;
        }

        return torch.tensor(visible, [_prompts.Count, keys]);
    }
}

/// <summary>Logits of the next token of each row of a batch, [B, V]; they last until the next forward.</summary>
internal readonly struct NextLogits(float[] all, int batch)
{
    /// <summary>Those of one row.</summary>
    public ReadOnlySpan<float> Row(int row) => all.AsSpan(all.Length / batch * row, all.Length / batch);
}
