using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Element-wise arithmetic and matrix products; shapes broadcast.
public partial class Tensor
{
    /// <summary>this + alpha * other.</summary>
    public Tensor add(Tensor other, double alpha = 1)
    {
        pt_add(Handle, other.Handle, alpha, out var result);
        return new Tensor(result);
    }

    /// <summary>this + value.</summary>
    public Tensor add(double value) { pt_add_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>this - other.</summary>
    public Tensor sub(Tensor other) { pt_sub(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>this - value.</summary>
    public Tensor sub(double value) { pt_add_scalar(Handle, -value, out var result); return new Tensor(result); }

    /// <summary>value - this.</summary>
    public Tensor rsub(double value) { pt_rsub_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>this * other.</summary>
    public Tensor mul(Tensor other) { pt_mul(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>this * value.</summary>
    public Tensor mul(double value) { pt_mul_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>this / other; integers become floating point.</summary>
    public Tensor div(Tensor other) { pt_div(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>this / value; integers become floating point.</summary>
    public Tensor div(double value) { pt_div_scalar(Handle, value, out var result); return new Tensor(result); }

    /// <summary>this / value rounded down.</summary>
    public Tensor floor_divide(double value)
    {
        pt_floor_divide_scalar(Handle, value, out var result);
        return new Tensor(result);
    }

    /// <summary>this modulo value, with the sign of value.</summary>
    public Tensor remainder(double value)
    {
        pt_remainder_scalar(Handle, value, out var result);
        return new Tensor(result);
    }

    /// <summary>this to the power exponent.</summary>
    public Tensor pow(Tensor exponent) { pt_pow(Handle, exponent.Handle, out var result); return new Tensor(result); }

    /// <summary>this to the power exponent.</summary>
    public Tensor pow(double exponent) { pt_pow_scalar(Handle, exponent, out var result); return new Tensor(result); }

    /// <summary>The element-wise smaller.</summary>
    public Tensor minimum(Tensor other)
    {
        pt_minimum(Handle, other.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>The element-wise larger.</summary>
    public Tensor maximum(Tensor other)
    {
        pt_maximum(Handle, other.Handle, out var result);
        return new Tensor(result);
    }

    /// <summary>-this.</summary>
    public Tensor neg() { pt_neg(Handle, out var result); return new Tensor(result); }

    /// <summary>e to the power this.</summary>
    public Tensor exp() { pt_exp(Handle, out var result); return new Tensor(result); }

    /// <summary>Natural logarithm.</summary>
    public Tensor log() { pt_log(Handle, out var result); return new Tensor(result); }

    /// <summary>log(1 + this), exact near zero.</summary>
    public Tensor log1p() { pt_log1p(Handle, out var result); return new Tensor(result); }

    /// <summary>Square root.</summary>
    public Tensor sqrt() { pt_sqrt(Handle, out var result); return new Tensor(result); }

    /// <summary>1 / sqrt(this).</summary>
    public Tensor rsqrt() { pt_rsqrt(Handle, out var result); return new Tensor(result); }

    /// <summary>Absolute value.</summary>
    public Tensor abs() { pt_abs(Handle, out var result); return new Tensor(result); }

    /// <summary>-1, 0 or 1.</summary>
    public Tensor sign() { pt_sign(Handle, out var result); return new Tensor(result); }

    /// <summary>Largest whole number not above.</summary>
    public Tensor floor() { pt_floor(Handle, out var result); return new Tensor(result); }

    /// <summary>Smallest whole number not below.</summary>
    public Tensor ceil() { pt_ceil(Handle, out var result); return new Tensor(result); }

    /// <summary>Nearest whole number, halves to even.</summary>
    public Tensor round() { pt_round(Handle, out var result); return new Tensor(result); }

    /// <summary>Sine.</summary>
    public Tensor sin() { pt_sin(Handle, out var result); return new Tensor(result); }

    /// <summary>Cosine.</summary>
    public Tensor cos() { pt_cos(Handle, out var result); return new Tensor(result); }

    /// <summary>max(this, 0).</summary>
    public Tensor relu() { pt_relu(Handle, out var result); return new Tensor(result); }

    /// <summary>1 / (1 + exp(-this)).</summary>
    public Tensor sigmoid() { pt_sigmoid(Handle, out var result); return new Tensor(result); }

    /// <summary>this * sigmoid(this).</summary>
    public Tensor silu() { pt_silu(Handle, out var result); return new Tensor(result); }

    /// <summary>Hyperbolic tangent.</summary>
    public Tensor tanh() { pt_tanh(Handle, out var result); return new Tensor(result); }

    /// <summary>Gauss error function.</summary>
    public Tensor erf() { pt_erf(Handle, out var result); return new Tensor(result); }

    /// <summary>Inverse of the Gauss error function.</summary>
    public Tensor erfinv() { pt_erfinv(Handle, out var result); return new Tensor(result); }

    /// <summary>log(1 + exp(beta * this)) / beta; linear above threshold.</summary>
    public Tensor softplus(double beta = 1, double threshold = 20)
    {
        pt_softplus(Handle, beta, threshold, out var result);
        return new Tensor(result);
    }

    /// <summary>Matrix product; leading dimensions broadcast. Shapes: [.., N, K] x [.., K, M] gives [.., N,
    /// M].</summary>
    public Tensor matmul(Tensor other) { pt_matmul(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>Matrix product. Shapes: [N, K] x [K, M] gives [N, M].</summary>
    public Tensor mm(Tensor other) { pt_mm(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>Batched matrix product. Shapes: [B, N, K] x [B, K, M] gives [B, N, M].</summary>
    public Tensor bmm(Tensor other) { pt_bmm(Handle, other.Handle, out var result); return new Tensor(result); }

    /// <summary>beta * this + alpha * a b. Shapes: this broadcasts to [N, M], a [N, K], b [K, M].</summary>
    public Tensor addmm(Tensor a, Tensor b, double beta = 1, double alpha = 1)
    {
        pt_addmm(Handle, a.Handle, b.Handle, beta, alpha, out var result);
        return new Tensor(result);
    }
}
