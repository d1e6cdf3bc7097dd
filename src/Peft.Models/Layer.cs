namespace Peft.Models;

/// <summary>A part of a model whose parts are registered by name and can be replaced by wrappers.</summary>
/// <remarks>Parts are registered by hand: the library's reflection over fields would take a back reference for a part.</remarks>
public abstract class Layer(string path) : torch.nn.Module(path)
{
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
