namespace Peft.Models.Generation;

/// <summary>Prompts of several lengths as one batch: padded on the left, so that every row's next token stands in the same column.</summary>
/// <remarks>Each forward runs in a dispose scope of its own and gives plain numbers back.</remarks>
internal sealed class PaddedPrompts
{
    private readonly int _longest;
    private readonly long? _taskId;
    private IReadOnlyList<IReadOnlyList<int>> _prompts;
    private readonly bool _isRagged;

    public PaddedPrompts(IReadOnlyList<IReadOnlyList<int>> prompts, long? taskId)
    {
        _prompts = prompts;
        _taskId = taskId;
        _longest = prompts.Max(prompt => prompt.Count);
        _isRagged = prompts.Any(prompt => prompt.Count != _longest);
    }

    /// <summary>Runs the prompts; logits of the last position of each row, [B][V].</summary>
    public float[][] Prefill(CausalLanguageModel model, KeyValueCache cache)
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

    /// <summary>Runs one new token of each row; logits [B][V].</summary>
    public float[][] Decode(CausalLanguageModel model, KeyValueCache cache, int[] next)
    {
        var ids = next.Select(id => (long)id).ToArray();
        var positions = _prompts.Select(prompt => cache.Length - _longest + prompt.Count).ToArray();
        return Run(model, cache, ids, positions, 1);
    }

    private float[][] Run(CausalLanguageModel model, KeyValueCache cache, long[] ids, long[] positions, int T)
    {
        using var scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        var B = _prompts.Count;
        var keys = cache.Length + T;
        var mask = _isRagged ? KeyMask(keys).to(model.Device) : null; // [B, S]
        var pass = ForwardPass.ForInference(
            cache,
            taskIds: _taskId is { } task ? torch.full([B], task, ScalarType.Int64, model.Device) : null,
            tokenMask: mask?.narrow(1, cache.Length, T),
            positions: torch.tensor(positions, [B, T]).to(model.Device),
            keyMask: mask);
        var hidden = model.Hidden(torch.tensor(ids, [B, T]).to(model.Device), pass).narrow(1, T - 1, 1); // [B, 1, D]
        var logits = model.Head(hidden, pass).to(ScalarType.Float32).to(torch.CPU).reshape(B, -1).contiguous();
        var all = logits.data<float>().ToArray();
        var vocabulary = all.Length / B;
        return B == 1 ? [all] : [.. Enumerable.Range(0, B).Select(row => all[(row * vocabulary)..((row + 1) * vocabulary)])];
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
