using Peft.Formats;

namespace Peft.Chat;

/// <summary>What of a conversation the loss counts.</summary>
public enum TrainOn
{
    /// <summary>All that the assistant says.</summary>
    Assistant,

    /// <summary>The assistant's last message.</summary>
    LastAssistant,

    /// <summary>Everything.</summary>
    All,
}

/// <summary>A conversation as text, and what of it is learned.</summary>
/// <param name="Text">The text.</param>
/// <param name="Learned">Rising stretches [start, end) in UTF-16 units.</param>
/// <param name="TakesEnds">Whether an end-of-text token that follows a stretch directly is learned with it: a template
/// may write it before the next message only.</param>
public sealed record LearnedText(string Text, IReadOnlyList<(int Start, int End)> Learned, bool TakesEnds);

/// <summary>Finds what the assistant says in the text of a conversation.</summary>
/// <remarks>
/// Where the template marks it with <c>{% generation %}</c>, those spans. Otherwise the text before a message, with
/// the beginning of an answer, and the text up to its end, each rendered by itself, must be beginnings of the whole
/// text: what is between them is the message. Where they are none nobody can say which characters are whose.
/// </remarks>
public static class LearnedTurns
{
    private const string Advice =
        "set `train_on: last_assistant`, or `chat_template:` to a template with {% generation %}, such as ";

    /// <summary>The text of a conversation with what is learned of it.</summary>
    /// <param name="template">The template.</param>
    /// <param name="conversation">The conversation.</param>
    /// <param name="on">What is learned.</param>
    /// <exception cref="ChatException">There is nothing to learn, the template refuses the conversation, or it cannot
    /// be told what is the assistant's.</exception>
    public static LearnedText Of(ChatTemplate template, Conversation conversation, TrainOn on)
    {
        template.RequireTools(conversation);
        var whole = template.Render(conversation, asks: false);
        if (on == TrainOn.All)
            return new LearnedText(whole.Text, [(0, whole.Text.Length)], TakesEnds: false);
        var answers = conversation.Messages.Index().Where(message => message.Item.Role == ChatRoles.Assistant)
            .Select(message => message.Index).ToList();
        if (answers.Count == 0)
            throw new ChatException(null, "no message from the assistant", "one to learn",
                "leave the row out with `filter:`, or set `on_bad_row: skip`");
        var used = conversation.Tools is null ? template : template.ToolUse ?? template;
        if (used.MarksAnswers)
            return new LearnedText(
                whole.Text, Marked(used, conversation, whole, answers, on == TrainOn.LastAssistant), TakesEnds: false);
        if (on == TrainOn.LastAssistant)
            answers = answers[^1..];
        return new LearnedText(
            whole.Text, [.. answers.Select(answer => Compared(used, conversation, whole.Text, answer))],
            TakesEnds: true);
    }

    private static List<(int Start, int End)> Marked(
        ChatTemplate template, Conversation conversation, Jinja.Rendering whole, List<int> answers, bool isLast)
    {
        var spans = whole.Generated.Where(span => span.End > span.Start).ToList();
        if (spans.Count == 0)
            throw new ChatException(null, "nothing between {% generation %} and {% endgeneration %}",
                "a message from the assistant there", "correct the template");
        if (!isLast || answers.Count == 1)
            return spans;
        if (spans.Count == answers.Count)
            return spans[^1..];
        var before = template.Render(conversation, asks: false, answers[^1]).Text;
        var number = conversation.Messages[answers[^1]].Number;
        return whole.Text.StartsWith(before, StringComparison.Ordinal)
            ? spans.FindAll(span => span.Start >= before.Length)
            : throw new ChatException(
                number, $"{Words.Count(spans.Count, "stretch", "stretches")} of {{% generation %}} for "
                    + Words.Count(answers.Count, "message") + " from the assistant",
                "one for each", "set `train_on: assistant`");
    }

    private static (int Start, int End) Compared(
        ChatTemplate template, Conversation conversation, string whole, int answer)
    {
        var number = conversation.Messages[answer].Number;
        if (template.BeginsUnasked)
        {
            throw new ChatException(
                number, "the chat template writes the beginning of a further answer behind every conversation",
                "one that ends with its last message", "set `chat_template:` to another, such as "
                    + Words.OneOf(TemplateCatalog.Names));
        }

        var before = template.Render(conversation, asks: true, answer).Text;
        var after = answer == conversation.Messages.Count - 1
            ? whole
            : template.Render(conversation, asks: false, answer + 1).Text;
        foreach (var (text, what) in new[] { (before, "before the message"), (after, "up to the message's end") })
        {
            if (!whole.StartsWith(text, StringComparison.Ordinal))
            {
                throw new ChatException(
                    number,
                    $"the chat template writes the conversation {what} otherwise when it is rendered by itself",
                    "the beginning of the whole text, to tell what the assistant says",
                    Advice + Words.OneOf(TemplateCatalog.Names));
            }
        }

        return after.Length > before.Length
            ? (before.Length, after.Length)
            : throw new ChatException(number, "the chat template writes nothing of the message", "a text to learn",
                "choose another template with `chat_template:`");
    }
}
