namespace Peft.Torch;

/// <summary>Parameters that share their settings.</summary>
/// <param name="Parameters">By name; the names key the state.</param>
/// <param name="LrMultiplier">Times the optimizer's learning rate.</param>
/// <param name="WeightDecay">In place of the optimizer's; null means the optimizer's.</param>
public sealed record ParamGroup(
    IReadOnlyList<(string name, Parameter parameter)> Parameters, double LrMultiplier = 1, double? WeightDecay = null);
