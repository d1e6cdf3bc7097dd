using Peft.Formats.Tokenizers;

namespace Peft.Chat;

/// <summary>How a chat template ends what the assistant says.</summary>
/// <param name="Ids">Tokens that end it; none where it ends with a text.</param>
/// <param name="Text">The text that ends it; null where it ends with a token.</param>
public sealed record TurnEnd(IReadOnlyList<int> Ids, string? Text)
{
    private const string Answer = "Answer";
    private const string Question = "Question";

    /// <summary>Looks at what the template writes behind an answer.</summary>
    public static TurnEnd Of(ChatTemplate template, TextEncoder encoder)
    {
        var behind = Behind(template);
        foreach (var token in encoder.Located(behind))
        {
            if (behind.AsSpan(token.Start, token.End - token.Start).IsWhiteSpace())
                continue;
            if (encoder.IsSpecial(token.Id) || encoder.Ends.Contains(token.Id))
                return new TurnEnd([token.Id], null);
            break;
        }

        var text = behind.Trim().Split('\n')[0].TrimEnd();
        return new TurnEnd([], text.Length > 0 ? text : behind.Length > 0 ? behind : null);
    }

    // Up to the next message: some templates end an answer only where one follows.
    private static string Behind(ChatTemplate template)
    {
        (string, string)[] talk = [(ChatRoles.User, "Hello"), (ChatRoles.Assistant, Answer)];
        foreach (var more in new (string, string)[][] { [(ChatRoles.User, Question)], [] })
        {
            try
            {
                var text = template.Render(Conversation.Of(talk.Concat(more)), asks: false).Text;
                var from = text.IndexOf(Answer, StringComparison.Ordinal);
                if (from < 0)
                    continue;
                var end = text.IndexOf(Question, from, StringComparison.Ordinal);
                return text[(from + Answer.Length)..(end < 0 ? text.Length : end)];
            }
            catch (ChatException)
            {
                // a shorter conversation may do
            }
        }

        return "";
    }
}
