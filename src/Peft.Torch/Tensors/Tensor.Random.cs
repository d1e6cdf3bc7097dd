using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Random numbers in place and from tensors; without a generator libtorch's default one is drawn from.
public partial class Tensor
{
    /// <summary>Uniform in [from, to).</summary>
    public Tensor uniform_(double from = 0, double to = 1, torch.Generator? generator = null)
    {
        pt_uniform_(Handle, from, to, Optional(generator));
        return this;
    }

    /// <summary>Normal.</summary>
    public Tensor normal_(double mean = 0, double std = 1, torch.Generator? generator = null)
    {
        pt_normal_(Handle, mean, std, Optional(generator));
        return this;
    }

    /// <summary>1 with probability p, else 0.</summary>
    public Tensor bernoulli_(double p = 0.5, torch.Generator? generator = null)
    {
        pt_bernoulli_(Handle, p, Optional(generator));
        return this;
    }

    /// <summary>Exponential with a rate.</summary>
    public Tensor exponential_(double rate = 1, torch.Generator? generator = null)
    {
        pt_exponential_(Handle, rate, Optional(generator));
        return this;
    }

    /// <summary>1 with the probability that the element gives, else 0.</summary>
    public Tensor bernoulli(torch.Generator? generator = null)
    {
        pt_bernoulli(Handle, Optional(generator), out var result);
        return new Tensor(result);
    }

    /// <summary>Indices drawn by weight along the last dimension. Shapes: [.., K] gives [.., num_samples],
    /// int64.</summary>
    public Tensor multinomial(long num_samples, bool replacement = false, torch.Generator? generator = null)
    {
        pt_multinomial(Handle, num_samples, replacement, Optional(generator), out var result);
        return new Tensor(result);
    }
}
