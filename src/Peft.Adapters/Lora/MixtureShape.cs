namespace Peft.Adapters.Lora;

/// <summary>The sizes and the scale of one wrapped projection.</summary>
/// <param name="Experts">Number of experts E.</param>
/// <param name="Rank">Rank R of each.</param>
/// <param name="Scale">Factor on their output: alpha / r, or alpha / sqrt(r) with rsLoRA.</param>
/// <param name="Dropout">Share of the adapter's input dropped in training.</param>
public sealed record MixtureShape(int Experts, int Rank, double Scale, double Dropout = 0);
