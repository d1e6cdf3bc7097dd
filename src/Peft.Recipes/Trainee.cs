using Peft.Adapters.Lora;
using Peft.Models;

namespace Peft.Recipes;

/// <summary>What a run trains and how it is kept.</summary>
/// <param name="Model">The model that computes.</param>
/// <param name="Adapted">Its adapters; null with <c>method: full</c>.</param>
/// <param name="Parameters">What is trained.</param>
/// <param name="SaveExactly">Writes the model for a checkpoint, bit for bit.</param>
/// <param name="SaveFinal">Writes the result.</param>
/// <param name="Load">Reads back what SaveExactly wrote.</param>
public sealed record Trainee(
    CausalLanguageModel Model, AdaptedModel? Adapted, IReadOnlyList<(string Name, Parameter Parameter)> Parameters,
    Action<string> SaveExactly, Action<string> SaveFinal, Action<string> Load);
