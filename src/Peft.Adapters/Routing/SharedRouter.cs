using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Repeats the decision that another projection of the same attention block made in this pass.</summary>
/// <remarks>Source: LoRA-Mixer, arXiv:2507.00029, whose text allows one router a block. It owns no parameters.</remarks>
public sealed class SharedRouter : Router
{
    private readonly Router _owner;

    /// <summary>Makes the router of a later projection of the block.</summary>
    /// <param name="owner">The router of the first one; another module owns it.</param>
    /// <param name="context">What this one is made for.</param>
    public SharedRouter(Router owner, RouterContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(owner);
        _owner = owner;
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        ArgumentNullException.ThrowIfNull(pass);
        return pass.Records<RoutingRecord>().LastOrDefault(record => record.Module == _owner.Context.Path)?.Decision
            ?? throw new InvalidOperationException($"{Context.Path}: {_owner.Context.Path} decides for it, and has not run in this pass");
    }

    /// <inheritdoc/>
    public override Tensor? ConstantGates() => _owner.ConstantGates();
}
