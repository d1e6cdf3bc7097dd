namespace Peft.Models.Layers;

/// <summary>Keys and values of the tokens seen so far, so that each new token costs one position.</summary>
/// <remarks>
/// Room is taken ahead and doubled when it runs out. Every layer appends during a forward; the model then advances the
/// length once. The window of a sliding layer is a mask, so the cache keeps all tokens.
/// </remarks>
public sealed class KeyValueCache : IDisposable
{
    private readonly Tensor?[] _keys;
    private readonly Tensor?[] _values;
    private readonly Dictionary<string, Tensor> _kept = [];
    private long _capacity;
    private KeyValueCache? _before;

    /// <summary>Makes an empty cache.</summary>
    /// <param name="layerCount">Layers of the model.</param>
    /// <param name="capacity">Tokens to take room for; it grows when more come.</param>
    public KeyValueCache(int layerCount, long capacity = 256)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        _keys = new Tensor?[layerCount];
        _values = new Tensor?[layerCount];
        _capacity = capacity;
    }

    /// <summary>Tokens held before the forward that is running.</summary>
    public long Length { get; private set; }

    /// <summary>Adds one layer's new keys and values and returns all of them.</summary>
    /// <remarks>
    /// Shapes: keys and values [B, Hkv, T, d] → views [B, Hkv, Length + T, d].
    /// Gradient: none.
    /// </remarks>
    public (Tensor Keys, Tensor Values) Append(int layer, Tensor keys, Tensor values) =>
        (Append(_keys, layer, keys), Append(_values, layer, values));

    /// <summary>One layer's rooms, for whoever writes the new keys and values itself, behind the <see cref="Length"/>
    /// that are there.</summary>
    /// <remarks>Shapes: [B, Hkv, room, d] each, with room for the new tokens.</remarks>
    /// <param name="layer">The layer.</param>
    /// <param name="shape">B, Hkv, new tokens and d.</param>
    /// <param name="like">Has the type and the device.</param>
    public (Tensor Keys, Tensor Values, long Length) Rooms(int layer, long[] shape, Tensor like)
    {
        Reserve(shape[2]);
        return (Room(_keys, layer, shape, like), Room(_values, layer, shape, like), Length);
    }

    /// <summary>The cache of the passes that run before those of this one, over the same tokens.</summary>
    internal KeyValueCache Before => _before ??= new KeyValueCache(_keys.Length, _capacity);

    /// <summary>Whether anything was decided for the whole sequences: another prompt would decide anew.</summary>
    public bool HoldsDecisions => _kept.Count > 0;

    /// <summary>What was decided for the whole sequences at their prompt, made on the first call and given back on
    /// later ones.</summary>
    /// <param name="name">Name of the decision, a module's path in it.</param>
    /// <param name="decide">Makes it from the prompt.</param>
    public Tensor Once(string name, Func<Tensor> decide)
    {
        if (!_kept.TryGetValue(name, out var kept))
            _kept[name] = kept = decide().DetachFromDisposeScope();
        return kept;
    }

    /// <summary>Adds tokens to those that were seen, and returns all of them: for models that may have to run them
    /// again.</summary>
    /// <remarks>Shapes: ids and positions [B, T] → [B, Length + T] int64, which the cache owns.</remarks>
    public (Tensor Ids, Tensor Positions) Remember(Tensor ids, Tensor positions) =>
        (Extended("ids", ids), Extended("positions", positions));

    /// <summary>Adds what is known of new tokens to what was kept of those before, and returns all of it.</summary>
    /// <remarks>Shapes: added [B, T, ..] → [B, Length + T, ..], which the cache owns. Gradient: none.</remarks>
    /// <param name="name">What it is, a module's path in it.</param>
    /// <param name="added">Of the new tokens.</param>
    public Tensor Extended(string name, Tensor added)
    {
        var held = Length == 0 ? null : _kept.GetValueOrDefault(name);
        var all = (held is null ? added.clone() : torch.cat([held.narrow(1, 0, Length), added], 1))
            .DetachFromDisposeScope();
        if (_kept.Remove(name, out var old))
            old.Dispose();
        return _kept[name] = all;
    }

    /// <summary>Forgets keys and values; what was decided once stays, and so do the tokens.</summary>
    public void Restart()
    {
        Length = 0;
        _before?.Restart();
    }

    /// <summary>A cache of its own that holds the rows named, in that order; a row may be named several
    /// times.</summary>
    /// <param name="rows">Rows of this cache.</param>
    /// <param name="further">Tokens to take room for beyond those held.</param>
    /// <remarks>Shapes: [B, ..] → [rows, ..]. Gradient: none.</remarks>
    public KeyValueCache Select(IReadOnlyList<long> rows, long further)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        // Rooms that have room for more are copied as they are, in one go.
        var capacity = _capacity < Length + further ? Length + further : _capacity;
        var chosen = new KeyValueCache(_keys.Length, capacity) { Length = Length };
        for (var layer = 0; layer < _keys.Length; layer++)
        {
            chosen._keys[layer] = chosen.Filled(_keys[layer]!, rows);
            chosen._values[layer] = chosen.Filled(_values[layer]!, rows);
        }

        foreach (var (name, kept) in _kept)
            chosen._kept[name] = kept.index_select(0, torch.tensor([.. rows], [rows.Count], device: kept.device))
                .DetachFromDisposeScope();
        chosen._before = _before?.Select(rows, further);
        return chosen;
    }

    /// <summary>Counts the tokens that every layer has appended.</summary>
    public void Advance(long tokens) => Length += tokens;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in _keys.Concat(_values).Concat(_kept.Values))
            tensor?.Dispose();
        _before?.Dispose();
    }

    private Tensor Filled(Tensor from, IReadOnlyList<long> rows)
    {
        var index = torch.tensor([.. rows], [rows.Count], device: from.device);
        if (from.size(2) == _capacity)
            return from.index_select(0, index).DetachFromDisposeScope();
        var held = from.narrow(2, 0, Length).index_select(0, index); // [rows, Hkv, T, d]
        var shape = held.shape;
        var room = torch.zeros([shape[0], shape[1], _capacity, shape[3]], dtype: held.dtype, device: held.device);
        room.narrow(2, 0, Length).copy_(held);
        return room.DetachFromDisposeScope();
    }

    private Tensor Append(Tensor?[] store, int layer, Tensor added)
    {
        using var noGrad = torch.no_grad();
        var tokens = added.shape[2];
        Reserve(tokens);
        var room = Room(store, layer, added.shape, added);
        room.narrow(2, Length, tokens).copy_(added);
        return room.narrow(2, 0, Length + tokens);
    }

    private void Reserve(long tokens)
    {
        while (_capacity < Length + tokens)
            _capacity *= 2;
    }

    private Tensor Room(Tensor?[] store, int layer, long[] shape, Tensor like)
    {
        var held = store[layer];
        if (held is not null && held.size(2) >= _capacity)
            return held;
        var room = torch.zeros([shape[0], shape[1], _capacity, shape[3]], dtype: like.dtype, device: like.device);
        room.DetachFromDisposeScope();
        if (held is not null)
        {
            room.narrow(2, 0, Length).copy_(held.narrow(2, 0, Length));
            held.Dispose();
        }

        store[layer] = room;
        return room;
    }
}
