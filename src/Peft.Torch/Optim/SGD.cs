using Peft.Torch.Interop;

namespace Peft.Torch;

public static partial class torch
{
    public static partial class optim
    {
        /// <summary>Stochastic gradient descent. Source: torch/optim/sgd.py: g += wd p; b = momentum b + (1 -
        /// dampening) g (the
        /// first time b = g); p -= lr b, or lr (g + momentum b) with nesterov.</summary>
        public sealed class SGD : Optimizer
        {
            private readonly double _momentum;
            private readonly double _dampening;
            private readonly bool _nesterov;

            /// <summary>One group.</summary>
            public SGD(IEnumerable<(string name, Parameter parameter)> parameters, double lr, double momentum = 0,
                double weight_decay = 0, double dampening = 0, bool nesterov = false)
                : this([new ParamGroup([.. parameters])], lr, momentum, weight_decay, dampening, nesterov)
            {
            }

            /// <summary>Several groups; weight_decay is that of groups which name none.</summary>
            public SGD(IEnumerable<ParamGroup> groups, double lr, double momentum = 0, double weight_decay = 0,
                double dampening = 0, bool nesterov = false)
                : base(groups, lr, weight_decay, momentum == 0 ? [] : ["momentum_buffer"])
            {
                _momentum = NonNegative(momentum, nameof(momentum));
                _dampening = dampening;
                _nesterov = nesterov;
            }

            private protected override void StepGroup(Group group, double groupLr) =>
                NativeMethods.pt_sgd_step(group.Parameters, group.State.Length == 0 ? TensorListHandle.None : group.State[0],
                    group.Counters, group.Counters.Length, groupLr, _momentum, _dampening, group.WeightDecay, _nesterov);
        }
    }
}
