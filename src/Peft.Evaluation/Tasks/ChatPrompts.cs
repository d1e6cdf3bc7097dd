using Peft.Chat;
using Peft.Formats;

namespace Peft.Evaluation.Tasks;

/// <summary>Puts questions to a model as conversations, through its chat template: what it was trained on.</summary>
/// <remarks>Solved examples are turns before the question, as lm-evaluation-harness has them with
/// <c>--fewshot_as_multiturn</c>; choices lose the space that parts them from a plain prompt.</remarks>
/// <param name="template">The template.</param>
/// <param name="task">The task's name, for messages.</param>
internal sealed class ChatPrompts(ChatTemplate template, string task)
{
    /// <summary>A row whose prompt, or whose contexts, are the texts that the model is given.</summary>
    /// <param name="row">The row.</param>
    /// <param name="shots">Solved examples before it.</param>
    /// <exception cref="UserException">The template refuses the conversation.</exception>
    public TaskRow Put(TaskRow row, IReadOnlyList<(TaskRow Row, string Prompt, string Answer)> shots)
    {
        List<ChatMessage> before = [];
        foreach (var shot in shots)
        {
            before.AddRange(Question(shot.Row, shot.Prompt).Where(message => message.Role != ChatRoles.System));
            before.Add(ChatMessage.Of(before.Count + 1, ChatRoles.Assistant, shot.Answer.TrimStart(' ')));
        }

        var put = row with
        {
            Choices = [.. row.Choices.Select(choice => choice?.TrimStart(' '))],
            Answer = row.Choices.Count > 0 ? row.Answer : row.Answer.TrimStart(' '),
        };
        return row.Contexts.Count == 0
            ? put with { Prompt = Text(row, before, row.Prompt) }
            : put with
            {
                Prompt = "",
                Contexts = [.. row.Contexts.Select(context => Text(row, before, row.Prompt + context))],
            };
    }

    private string Text(TaskRow row, List<ChatMessage> before, string prompt)
    {
        var question = Question(row, prompt);
        var head = question.TakeWhile(message => message.Role == ChatRoles.System).ToList();
        var talk = (row.Conversation ?? new Conversation([])) with
        {
            Messages = [.. head, .. before, .. question.Skip(head.Count)],
        };
        try
        {
            template.RequireTools(talk);
            return template.Render(talk, asks: true).Text;
        }
        catch (ChatException error)
        {
            throw new UserException(error.At($"task {task}: {row.Source}").ToString(), error);
        }
    }

    private static IReadOnlyList<ChatMessage> Question(TaskRow row, string prompt) =>
        row.Conversation?.Messages ?? [ChatMessage.Of(1, ChatRoles.User, prompt)];
}
