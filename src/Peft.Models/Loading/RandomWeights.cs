using Peft.Formats;

namespace Peft.Models.Loading;

/// <summary>Freshly drawn weights. Each tensor has a stream of its own, so one more layer leaves the others as they
/// were.</summary>
public sealed class RandomWeights : WeightSource
{
    private readonly double _initializerRange;
    private readonly long _seed;
    private Int128 _bytes;

    /// <summary>Makes the source.</summary>
    /// <param name="dtype">Type of every parameter.</param>
    /// <param name="device">Where every parameter lies.</param>
    /// <param name="initializerRange">Standard deviation of embeddings and matrices.</param>
    /// <param name="seed">Seed; a tensor's stream also depends on its name.</param>
    public RandomWeights(ScalarType dtype, Device device, double initializerRange, long seed)
        : base(dtype, device)
    {
        _initializerRange = initializerRange;
        _seed = seed;
    }

    /// <inheritdoc/>
    /// <remarks>Shapes: as given. Units: drawn in float32 on the CPU, then cast, so that every type starts from the
    /// same numbers.</remarks>
    protected override Tensor Read(string name, WeightKind kind, long[] shape)
    {
        RequireMemory(name, shape);
        return kind switch
        {
            WeightKind.Bias => torch.zeros(shape, dtype: Dtype, device: Device),
            WeightKind.Scale => torch.ones(shape, dtype: Dtype, device: Device),
            _ => Normal(name, shape),
        };
    }

    // Memory that is promised and not there would end the process later, without a word.
    private void RequireMemory(string name, long[] shape)
    {
        const double Gibi = 1 << 30;
        _bytes += shape.Aggregate((Int128)Dtype.ElementSize(), (bytes, size) => bytes * size);
        var available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (Device.type == DeviceType.CPU && _bytes > available)
        {
            throw UserException.At(
                "config.json",
                $"with {name} of [{string.Join(", ", shape)}] the weights take {(double)_bytes / Gibi:N1} GiB",
                $"at most the {available / Gibi:N1} GiB of this machine", "make the model smaller");
        }
    }

    private Tensor Normal(string name, long[] shape)
    {
        using var random = Seeds.GeneratorFor(_seed, name);
        return torch.randn(shape, dtype: ScalarType.Float32, generator: random).mul_(_initializerRange).to(Dtype)
            .to(Device);
    }
}
