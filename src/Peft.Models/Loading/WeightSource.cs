namespace Peft.Models.Loading;

/// <summary>Where a model that is being built takes its tensors from, by Hugging Face name and shape.</summary>
/// <remarks>
/// A layer's constructor names what it needs, so there is no second list of tensor names. Faults are collected and
/// thrown by <see cref="Finish"/>, all at once.
/// </remarks>
public abstract class WeightSource
{
    private readonly List<(string Name, Parameter Parameter)> _taken = [];
    private readonly HashSet<string> _transposed = new(StringComparer.Ordinal);

    /// <summary>Makes a source.</summary>
    protected WeightSource(ScalarType dtype, Device device)
    {
        Dtype = dtype;
        Device = device;
    }

    /// <summary>The type every parameter gets.</summary>
    public ScalarType Dtype { get; }

    /// <summary>Where every parameter lies.</summary>
    public Device Device { get; }

    /// <summary>What was taken so far, in building order.</summary>
    public IReadOnlyList<(string Name, Parameter Parameter)> Taken => _taken;

    /// <summary>Takes one tensor as a frozen parameter.</summary>
    /// <remarks>Shapes: as given.</remarks>
    public Parameter Take(string name, WeightKind kind, params long[] shape)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var parameter = Read(name, kind, shape).ToParameter(requires_grad: false); // shares the elements
        _taken.Add((name, parameter));
        return parameter;
    }

    /// <summary>Takes a matrix that files hold the other way round.</summary>
    /// <remarks>Shapes: as given; [columns, rows] in files.</remarks>
    public Parameter TakeTransposed(string name, WeightKind kind, long rows, long columns)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var parameter = Read(name, kind, [columns, rows]).t().contiguous().ToParameter(requires_grad: false);
        _taken.Add((name, parameter));
        _transposed.Add(name);
        return parameter;
    }

    /// <summary>A taken tensor as files hold it, a view.</summary>
    public Tensor AsStored(string name, Tensor tensor) => _transposed.Contains(name) ? tensor.t() : tensor;

    /// <summary>Says what a tensor is made of, for the message where it does not fit.</summary>
    public virtual void Explain(string name, string meaning)
    {
    }

    /// <summary>Looks at a tensor that checkpoints may carry though the model computes it: it must say the
    /// same.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="from">Where its values follow from, for the message.</param>
    /// <param name="accepted">Values that are right, each a list of its own.</param>
    public virtual void Expect(string name, string from, params IReadOnlyList<float>[] accepted)
    {
    }

    /// <summary>Throws every fault found while the model was built; nothing when it fits.</summary>
    public virtual void Finish()
    {
    }

    /// <summary>Frees what was taken, when the model cannot be used.</summary>
    public void Discard()
    {
        foreach (var (_, parameter) in _taken)
            parameter.Dispose();
        _taken.Clear();
    }

    /// <summary>Finds or makes one tensor of <see cref="Dtype"/> on <see cref="Device"/>.</summary>
    /// <remarks>Shapes: as given.</remarks>
    protected abstract Tensor Read(string name, WeightKind kind, long[] shape);
}

/// <summary>What a tensor is for; decides how it is drawn when a model starts from nothing.</summary>
public enum WeightKind
{
    /// <summary>A table of token vectors: normal.</summary>
    Embedding,

    /// <summary>The matrix of a linear layer: normal.</summary>
    Matrix,

    /// <summary>An offset: zero.</summary>
    Bias,

    /// <summary>The scale of a norm: one.</summary>
    Scale,
}
