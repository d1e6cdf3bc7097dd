namespace Peft.Torch.Optim;

/// <summary>Stochastic gradient descent. Source: torch/optim/sgd.py: g += wd p; b = momentum b + (1 - dampening) g (the
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

    private protected override void StepGroup(IReadOnlyList<Slot> slots, double groupLr, double weightDecay)
    {
        using Scalar decay = weightDecay.ToScalar(), momentum = _momentum.ToScalar(),
            rest = (1 - _dampening).ToScalar(), size = (-groupLr).ToScalar();
        foreach (var slot in slots)
        {
            var g = slot.Gradient.to(slot.Parameter.dtype);
            if (weightDecay != 0) g = g.add(slot.Parameter, decay);
            if (_momentum != 0)
            {
                var buffer = slot.State[0];
                if (slot.Step == 1) buffer.copy_(g);
                else buffer.mul_(momentum).add_(g, rest);
                g = _nesterov ? g.add(buffer, momentum) : buffer;
            }

            slot.Parameter.add_(g, size);
        }
    }
}
