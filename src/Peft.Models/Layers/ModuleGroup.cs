namespace Peft.Models.Layers;

/// <summary>A level of names without arithmetic, such as <c>model</c> or <c>layers</c>, so that module paths are Hugging Face's.</summary>
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
}
