namespace Peft.Formats;

/// <summary>The house's form for one error: place - what was found - what is allowed - what to do.</summary>
internal static class MessageText
{
    public static string Of(string place, string found, string allowed, string? advice = null) =>
        advice is null ? $"{place} - {found} - {allowed}" : $"{place} - {found} - {allowed} - {advice}";
}
