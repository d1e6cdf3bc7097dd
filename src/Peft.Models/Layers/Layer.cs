using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>A part of a model whose parts are registered by name and can be replaced by wrappers.</summary>
/// <remarks>Parts are registered by hand: the library's reflection over fields would take a back reference for a
/// part.</remarks>
public abstract class Layer(string path) : torch.nn.Module(path)
{
    /// <summary>Nothing: no field is looked at.</summary>
    protected override void RegisterComponents()
    {
    }

    /// <summary>Registers a part and returns it.</summary>
    protected TModule RegisterModule<TModule>(string name, TModule module)
        where TModule : torch.nn.Module
    {
        register_module(name, module);
        return module;
    }

    /// <summary>Registers a buffer and returns it; it outlives the scope that it was made in.</summary>
    protected Tensor RegisterBuffer(string name, Tensor buffer, bool persistent = true)
    {
        register_buffer(name, buffer.DetachFromDisposeScope(), persistent);
        return buffer;
    }

    /// <summary>Puts a part in another's place, under its name; the other one is not disposed.</summary>
    protected void ReplaceModule(string name, torch.nn.Module module)
    {
        var parts = named_children().ToList();
        ClearModules();
        foreach (var (own, part) in parts)
            register_module(own, own == name ? module : part);
    }
}

/// <summary>A level of names without arithmetic, such as <c>model</c> or <c>layers</c>, so that module paths are
/// Hugging Face's.</summary>
public sealed class ModuleGroup : Layer
{
    /// <summary>Makes an empty level.</summary>
    public ModuleGroup(string path)
        : base(path)
    {
    }

    /// <summary>Takes over a part and returns it.</summary>
    public TModule Add<TModule>(string name, TModule module)
        where TModule : torch.nn.Module => RegisterModule(name, module);

    /// <summary>Puts a part in another's place, under its name; the other one is not disposed.</summary>
    public void Replace(string name, torch.nn.Module module) => ReplaceModule(name, module);
}

/// <summary>The table of token vectors.</summary>
public sealed class TokenEmbedding : Layer
{
    /// <summary>Takes <c>PATH.weight</c> from a source of weights.</summary>
    public TokenEmbedding(WeightSource weights, string path, long vocabularySize, long width)
        : base(path)
    {
        Path = path;
        Weight = weights.Take($"{path}.weight", WeightKind.Embedding, vocabularySize, width);
        register_parameter("weight", Weight);
    }

    private readonly List<Func<Tensor, Tensor, Tensor>> _adapters = [];

    /// <summary>Hugging Face module path.</summary>
    public string Path { get; }

    /// <summary>The table.</summary>
    /// <remarks>Shapes: [V, D].</remarks>
    public Parameter Weight { get; }

    /// <summary>Looks tokens up.</summary>
    /// <remarks>Shapes: ids [B, T] int64 → [B, T, D]. Gradient: none while the table is frozen, so backward ends above
    /// it.</remarks>
    public Tensor Forward(Tensor ids)
    {
        var rows = Weight.index_select(0, ids.reshape(-1)).reshape([.. ids.shape, Weight.shape[1]]);
        foreach (var adapter in _adapters)
            rows = adapter(ids, rows);
        return rows;
    }

    /// <summary>Lets something change the rows of every later forward.</summary>
    /// <remarks>Shapes: ids [B, T] and rows [B, T, D] → [B, T, D].</remarks>
    public void Adapt(Func<Tensor, Tensor, Tensor> adapter) => _adapters.Add(adapter);
}
