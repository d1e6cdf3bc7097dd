namespace Peft.Torch;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>First values of parameters, in place and not recorded. Source: torch/nn/init.py.</summary>
        public static class init
        {
            /// <summary>He initialisation, uniform: bound sqrt(6 / ((1 + a^2) fan_in)). Shapes: [out, in, ..]; fan_in
            /// is the
            /// product of all sizes but the first. a = sqrt(5) is what nn.Linear and LoRA's A use.</summary>
            public static Tensor kaiming_uniform_(Tensor tensor, double a = 0, Generator? generator = null)
            {
                var bound = Math.Sqrt(6.0 / ((1 + (a * a)) * Fans(tensor).In));
                return uniform_(tensor, -bound, bound, generator);
            }

            /// <summary>He initialisation, normal: standard deviation sqrt(2 / ((1 + a^2) fan_in)).</summary>
            public static Tensor kaiming_normal_(Tensor tensor, double a = 0, Generator? generator = null) =>
                normal_(tensor, 0, Math.Sqrt(2.0 / ((1 + (a * a)) * Fans(tensor).In)), generator);

            /// <summary>Glorot initialisation, uniform: bound gain sqrt(6 / (fan_in + fan_out)).</summary>
            public static Tensor xavier_uniform_(Tensor tensor, double gain = 1, Generator? generator = null)
            {
                var (fanIn, fanOut) = Fans(tensor);
                var bound = gain * Math.Sqrt(6.0 / (fanIn + fanOut));
                return uniform_(tensor, -bound, bound, generator);
            }

            /// <summary>Uniform in [low, high).</summary>
            public static Tensor uniform_(Tensor tensor, double low = 0, double high = 1, Generator? generator = null)
            {
                using var outside = no_grad();
                return tensor.uniform_(low, high, generator);
            }

            /// <summary>Normal.</summary>
            public static Tensor normal_(Tensor tensor, double mean = 0, double std = 1, Generator? generator = null)
            {
                using var outside = no_grad();
                return tensor.normal_(mean, std, generator);
            }

            /// <summary>Zeros.</summary>
            public static Tensor zeros_(Tensor tensor) => constant_(tensor, 0);

            /// <summary>Ones.</summary>
            public static Tensor ones_(Tensor tensor) => constant_(tensor, 1);

            /// <summary>One value everywhere.</summary>
            public static Tensor constant_(Tensor tensor, double value)
            {
                using var outside = no_grad();
                return tensor.fill_(value);
            }

            private static (double In, double Out) Fans(Tensor tensor)
            {
                var shape = tensor.shape;
                if (shape.Length < 2)
                {
                    throw new ArgumentException($"initialisation by fan - shape [{string.Join(", ", shape)}] - allowed: at least "
                        + "two dimensions");
                }

                var field = shape.Skip(2).Aggregate(1.0, (product, size) => product * size);
                return (shape[1] * field, shape[0] * field);
            }
        }
    }
}
