using Peft.Torch.Interop;

namespace Peft.Torch;

public static partial class torch
{
    public static partial class optim
    {
        /// <summary>Adam with decoupled weight decay. Source: Loshchilov and Hutter, and torch/optim/adamw.py:
        /// p -= lr wd p; m += (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; p -= lr / (1 - b1^t) m / (sqrt(v / (1 -
        /// b2^t)) + eps).</summary>
        public sealed class AdamW : Optimizer
        {
            private readonly double _beta1;
            private readonly double _beta2;
            private readonly double _eps;

            /// <summary>One group.</summary>
            public AdamW(IEnumerable<(string name, Parameter parameter)> parameters, double lr = 1e-3, double beta1 = 0.9,
                double beta2 = 0.999, double eps = 1e-8, double weight_decay = 1e-2)
                : this([new ParamGroup([.. parameters])], lr, beta1, beta2, eps, weight_decay)
            {
            }

            /// <summary>Several groups; weight_decay is that of groups which name none.</summary>
            public AdamW(IEnumerable<ParamGroup> groups, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999,
                double eps = 1e-8, double weight_decay = 1e-2)
                : base(groups, lr, weight_decay, "exp_avg", "exp_avg_sq")
            {
                _beta1 = Fraction(beta1, nameof(beta1));
                _beta2 = Fraction(beta2, nameof(beta2));
                _eps = NonNegative(eps, nameof(eps));
            }

            private protected override void StepGroup(Group group, double groupLr) =>
                NativeMethods.pt_adamw_step(group.Parameters, group.State[0], group.State[1], group.Counters,
                    group.Counters.Length, groupLr, _beta1, _beta2, _eps, group.WeightDecay);
        }
    }
}
