namespace Peft.Data.Examples;

/// <summary>Why a row cannot be used.</summary>
/// <param name="Found">What is wrong with it.</param>
/// <param name="Allowed">What it should have.</param>
internal sealed record RowFault(string Found, string Allowed);
