namespace Peft.Torch;

// Element-wise arithmetic and matrix products; shapes broadcast. The functions are the tensor's own methods.
public static partial class torch
{
    /// <summary>this + alpha * other.</summary>
    public static Tensor add(Tensor input, Tensor other, double alpha = 1) =>
        input.add(other, alpha);

    /// <summary>this + value.</summary>
    public static Tensor add(Tensor input, double value) =>
        input.add(value);

    /// <summary>this - other.</summary>
    public static Tensor sub(Tensor input, Tensor other) =>
        input.sub(other);

    /// <summary>this - value.</summary>
    public static Tensor sub(Tensor input, double value) =>
        input.sub(value);

    /// <summary>this * other.</summary>
    public static Tensor mul(Tensor input, Tensor other) =>
        input.mul(other);

    /// <summary>this * value.</summary>
    public static Tensor mul(Tensor input, double value) =>
        input.mul(value);

    /// <summary>this / other; integers become floating point.</summary>
    public static Tensor div(Tensor input, Tensor other) =>
        input.div(other);

    /// <summary>this / value; integers become floating point.</summary>
    public static Tensor div(Tensor input, double value) =>
        input.div(value);

    /// <summary>this / value rounded down.</summary>
    public static Tensor floor_divide(Tensor input, double value) =>
        input.floor_divide(value);

    /// <summary>this modulo value, with the sign of value.</summary>
    public static Tensor remainder(Tensor input, double value) =>
        input.remainder(value);

    /// <summary>this to the power exponent.</summary>
    public static Tensor pow(Tensor input, Tensor exponent) =>
        input.pow(exponent);

    /// <summary>this to the power exponent.</summary>
    public static Tensor pow(Tensor input, double exponent) =>
        input.pow(exponent);

    /// <summary>The element-wise smaller.</summary>
    public static Tensor minimum(Tensor input, Tensor other) =>
        input.minimum(other);

    /// <summary>The element-wise larger.</summary>
    public static Tensor maximum(Tensor input, Tensor other) =>
        input.maximum(other);

    /// <summary>-this.</summary>
    public static Tensor neg(Tensor input) =>
        input.neg();

    /// <summary>e to the power this.</summary>
    public static Tensor exp(Tensor input) =>
        input.exp();

    /// <summary>Natural logarithm.</summary>
    public static Tensor log(Tensor input) =>
        input.log();

    /// <summary>log(1 + this), exact near zero.</summary>
    public static Tensor log1p(Tensor input) =>
        input.log1p();

    /// <summary>Square root.</summary>
    public static Tensor sqrt(Tensor input) =>
        input.sqrt();

    /// <summary>1 / sqrt(this).</summary>
    public static Tensor rsqrt(Tensor input) =>
        input.rsqrt();

    /// <summary>Absolute value.</summary>
    public static Tensor abs(Tensor input) =>
        input.abs();

    /// <summary>-1, 0 or 1.</summary>
    public static Tensor sign(Tensor input) =>
        input.sign();

    /// <summary>Largest whole number not above.</summary>
    public static Tensor floor(Tensor input) =>
        input.floor();

    /// <summary>Smallest whole number not below.</summary>
    public static Tensor ceil(Tensor input) =>
        input.ceil();

    /// <summary>Nearest whole number, halves to even.</summary>
    public static Tensor round(Tensor input) =>
        input.round();

    /// <summary>Sine.</summary>
    public static Tensor sin(Tensor input) =>
        input.sin();

    /// <summary>Cosine.</summary>
    public static Tensor cos(Tensor input) =>
        input.cos();

    /// <summary>max(this, 0).</summary>
    public static Tensor relu(Tensor input) =>
        input.relu();

    /// <summary>1 / (1 + exp(-this)).</summary>
    public static Tensor sigmoid(Tensor input) =>
        input.sigmoid();

    /// <summary>Hyperbolic tangent.</summary>
    public static Tensor tanh(Tensor input) =>
        input.tanh();

    /// <summary>Gauss error function.</summary>
    public static Tensor erf(Tensor input) =>
        input.erf();

    /// <summary>Inverse of the Gauss error function.</summary>
    public static Tensor erfinv(Tensor input) =>
        input.erfinv();

    /// <summary>Matrix product; leading dimensions broadcast. Shapes: [.., N, K] x [.., K, M] gives [.., N,
    /// M].</summary>
    public static Tensor matmul(Tensor input, Tensor other) =>
        input.matmul(other);

    /// <summary>Matrix product. Shapes: [N, K] x [K, M] gives [N, M].</summary>
    public static Tensor mm(Tensor input, Tensor other) =>
        input.mm(other);

    /// <summary>Batched matrix product. Shapes: [B, N, K] x [B, K, M] gives [B, N, M].</summary>
    public static Tensor bmm(Tensor input, Tensor other) =>
        input.bmm(other);

    /// <summary>beta * this + alpha * a b. Shapes: this broadcasts to [N, M], a [N, K], b [K, M].</summary>
    public static Tensor addmm(Tensor input, Tensor a, Tensor b, double beta = 1, double alpha = 1) =>
        input.addmm(a, b, beta, alpha);
}
