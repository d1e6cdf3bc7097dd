using System.Text;
using Peft.Formats.Tokenizers;

namespace Peft.Chat;

/// <summary>What a chat template writes around what the assistant says.</summary>
/// <param name="Lead">What stands between the beginning of an answer (<c>add_generation_prompt</c>) and its text: the
/// model writes it, and it is no part of the message.</param>
/// <param name="EndIds">Tokens that end an answer; none where it ends with a text.</param>
/// <param name="EndText">The text that ends it; null where it ends with a token.</param>
public sealed record AnswerFrame(string Lead, IReadOnlyList<int> EndIds, string? EndText)
{
    private const string Asked = "Hello";
    private const string Answer = "Answer";
    private const string Next = "Question";

    /// <summary>Nothing around it.</summary>
    public static AnswerFrame None { get; } = new("", [], null);

    /// <summary>Looks at what the template writes before and behind an answer.</summary>
    public static AnswerFrame Of(ChatTemplate template, TextEncoder encoder)
    {
        var (lead, behind) = Around(template);
        foreach (var token in encoder.Located(behind))
        {
            if (behind.AsSpan(token.Start, token.End - token.Start).IsWhiteSpace())
                continue;
            if (encoder.IsSpecial(token.Id) || encoder.Ends.Contains(token.Id))
                return new AnswerFrame(lead, [token.Id], null);
            break;
        }

        // A space alone ends nothing: words have one between them.
        var text = behind.Trim().Split('\n')[0].TrimEnd();
        return new AnswerFrame(lead, [], text.Length > 0 ? text : behind.Contains('\n') ? "\n" : null);
    }

    // Up to the next message: some templates end an answer only where one follows.
    private static (string Lead, string Behind) Around(ChatTemplate template)
    {
        (string, string)[] talk = [(ChatRoles.User, Asked), (ChatRoles.Assistant, Answer)];
        foreach (var more in new (string, string)[][] { [(ChatRoles.User, Next)], [] })
        {
            try
            {
                var text = template.Render(Conversation.Of(talk.Concat(more)), asks: false).Text;
                var before = template.Render(Conversation.Of(talk[0]), asks: true).Text;
                var from = text.IndexOf(Answer, StringComparison.Ordinal);
                if (from < 0)
                    continue;
                var end = text.IndexOf(Next, from, StringComparison.Ordinal);
                var isBeginning = before.Length <= from && text.StartsWith(before, StringComparison.Ordinal);
                return (
                    isBeginning ? text[before.Length..from] : "",
                    text[(from + Answer.Length)..(end < 0 ? text.Length : end)]);
            }
            catch (ChatException)
            {
                // a shorter conversation may do
            }
        }

        return ("", "");
    }
}

/// <summary>An answer as it grows. What may be the beginning of what stands around it is held back.</summary>
public sealed class AnswerText(AnswerFrame frame)
{
    private readonly StringBuilder _text = new();
    private string _held = "";
    private bool _isBegun = frame.Lead.Length == 0;

    /// <summary>Whether what ends an answer was met.</summary>
    public bool IsEnded { get; private set; }

    /// <summary>The answer so far.</summary>
    public string Text => _text.ToString();

    /// <summary>Takes a piece that the model wrote.</summary>
    /// <returns>What of the answer is sure now.</returns>
    public string Add(string piece)
    {
        _held += piece;
        if (!_isBegun)
        {
            // Nothing is known of a text that is shorter than what stands before an answer, and like it.
            if (_held.Length < frame.Lead.Length && frame.Lead.StartsWith(_held, StringComparison.Ordinal))
                return "";
            Begin();
        }

        if (frame.EndText is not { } end)
            return Rest();
        var at = _held.IndexOf(end, StringComparison.Ordinal);
        IsEnded = at >= 0;
        if (at < 0)
            at = _held.Length - LongestBeginning(end);
        var free = _held[..at];
        _held = IsEnded ? "" : _held[at..];
        _text.Append(free);
        return free;
    }

    /// <summary>What was held back, when nothing more comes.</summary>
    public string Rest()
    {
        if (!_isBegun)
            Begin();
        var rest = _held;
        _held = "";
        _text.Append(rest);
        return rest;
    }

    private void Begin()
    {
        _isBegun = true;
        if (_held.StartsWith(frame.Lead, StringComparison.Ordinal))
            _held = _held[frame.Lead.Length..];
    }

    private int LongestBeginning(string end)
    {
        for (var length = Math.Min(end.Length - 1, _held.Length); length > 0; length--)
        {
            if (_held.EndsWith(end[..length], StringComparison.Ordinal))
                return length;
        }

        return 0;
    }
}
