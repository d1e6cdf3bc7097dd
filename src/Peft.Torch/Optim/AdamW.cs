using static Peft.Torch.Natives.Dispatcher;

namespace Peft.Torch.Optim;

/// <summary>Adam with decoupled weight decay. Source: Loshchilov and Hutter, and torch/optim/adamw.py:
/// p -= lr wd p; m += (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) +
/// eps).</summary>
public sealed class AdamW : Optimizer
{
    private const bool AmsGrad = false;
    private const bool Maximize = false;
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

    private protected override void StepGroup(IReadOnlyList<Slot> slots, double groupLr, double weightDecay)
    {
        // libtorch's operation takes tensors of one device and type; the number of the step is one tensor for all that
        // share it.
        foreach (var alike in slots.GroupBy(
            s => (s.Step, s.Parameter.dtype, s.Parameter.device.ToString(), IsDense(s))))
        {
            if (alike.Key.Item4) StepAtOnce([.. alike], groupLr, weightDecay);
            else alike.ToList().ForEach(slot => StepComposed(slot, groupLr, weightDecay));
        }
    }

    /// <summary>Whether the four tensors are of one type and their elements lie in one order.</summary>
    private static bool IsDense(Slot slot) => slot.State.Append(slot.Gradient).Append(slot.Parameter)
        .All(t => t.is_contiguous() && t.dtype == slot.Parameter.dtype);

    private void StepAtOnce(Slot[] slots, double lr, double weightDecay)
    {
        var step = torch.tensor((float)slots[0].Step, device: slots[0].Parameter.device);
        Call("aten::_fused_adamw_"u8, ""u8, 0, Argument.List(Array.ConvertAll<Slot, Tensor>(slots, s => s.Parameter)),
            Argument.List(Array.ConvertAll(slots, s => s.Gradient)),
            Argument.List(Array.ConvertAll(slots, s => s.State[0])),
            Argument.List(Array.ConvertAll(slots, s => s.State[1])), Argument.List(Array.Empty<Tensor>()),
            Argument.List(Array.ConvertAll(slots, _ => step)), lr, _beta1, _beta2, weightDecay, _eps, AmsGrad, Maximize,
            Argument.None, Argument.None);
        // What is computed from parameters is known by their versions, which this operation leaves as they are.
        foreach (var slot in slots) Autograd.NativeAutograd.BumpVersion(slot.Parameter.Handle);
    }

    private void StepComposed(Slot slot, double lr, double weightDecay)
    {
        var (p, g, m, v) = (slot.Parameter, slot.Gradient.to(slot.State[0].dtype), slot.State[0], slot.State[1]);
        p.mul_(1 - lr * weightDecay);
        m.mul_(_beta1).add_(g, 1 - _beta1);
        v.mul_(_beta2).addcmul_(g, g, 1 - _beta2);
        var root = v.sqrt().div_(Math.Sqrt(1 - Math.Pow(_beta2, slot.Step))).add_(_eps);
        p.addcdiv_(m, root, -lr / (1 - Math.Pow(_beta1, slot.Step)));
    }
}
