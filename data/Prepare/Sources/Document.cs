namespace Peft.Prepare.Sources;

/// <summary>A piece of running text for language modelling.</summary>
/// <param name="Source">The corpus it comes from.</param>
/// <param name="Name">Its name there; the split is by source and name.</param>
/// <param name="Paragraphs">Its text.</param>
/// <param name="Separator">What stands between two paragraphs.</param>
internal sealed record Document(string Source, string Name, IReadOnlyList<string> Paragraphs, string Separator = "\n");
