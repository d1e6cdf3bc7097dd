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
