using Peft.Adapters.Routing;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Settings of <see cref="FirstRouter"/>.</summary>
public sealed record FirstRouterOptions : ExpertRouterOptions
{
    /// <summary>Experts that every token gets.</summary>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int TopK { get; init; } = 3;

    /// <summary>What the weights are divided by.</summary>
    [Key(Above = 0)]
    public double Temperature { get; init; } = 1;
}

/// <summary>Every token gets the first experts: a router in one file, as somebody would add it.</summary>
public sealed class FirstRouter(FirstRouterOptions options, RouterContext context) : Router(context)
{
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var tokens = x.numel() / Context.Width;
        var selected = torch.arange(Context.Experts, torch.int64, x.device).lt(options.TopK).expand(
            [tokens, Context.Experts]);
        var gates = selected.to(torch.float32) / (options.TopK * options.Temperature);
        return new RoutingDecision(gates, selected, selected.to(torch.float32) / options.TopK);
    }
}
