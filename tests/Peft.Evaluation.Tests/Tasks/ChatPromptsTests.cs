using Peft.Chat;
using Peft.Data.Examples;
using Peft.Evaluation.Tasks;
using Peft.Formats;

namespace Peft.Evaluation.Tests.Tasks;

/// <summary>Questions are put as training had them: through the chat template.</summary>
public sealed class ChatPromptsTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private static readonly ChatTemplate Template = ChatTemplate.Parse(
        "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}"
        + "{% if add_generation_prompt %}a:{% endif %}",
        "t", new Dictionary<string, string>());

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_prompt_is_a_users_message_and_solved_rows_are_turns_before_it()
    {
        var data = Open(
            new EvaluationTask
            {
                Name = "q", Kind = TaskKind.Generation, Metrics = ["exact_match"], ApplyChatTemplate = true,
                Sources = [Source("rows.jsonl")],
                Shots = new ShotOptions { Count = 1, Files = [Write("shots.jsonl", """{"p": "1+1=", "a": " 2"}""")] },
            },
            """{"p": "2+2=", "a": " 4"}""");
        Assert.Equal(("u:1+1=;a:2;u:2+2=;a:", "4"), (data.Rows[0].Prompt, data.Rows[0].Answer));
        Assert.Same(Template, data.Template);
    }

    [Fact]
    public void Choices_lose_the_space_that_parts_them_from_a_plain_prompt()
    {
        var data = Open(
            new EvaluationTask
            {
                Name = "q", Kind = TaskKind.MultipleChoice, Metrics = ["acc"], Labels = ["A", "B"],
                ApplyChatTemplate = true,
                Choices = [TextTemplate.Literal(" yes"), TextTemplate.Literal(" no")],
                Sources = [Source("rows.jsonl") with
                {
                    Fields = [TextTemplate.Literal(" yes"), TextTemplate.Literal(" no")],
                }],
            },
            """{"p": "Is it?", "a": "B"}""");
        Assert.Equal(("u:Is it?;a:", 1), (data.Rows[0].Prompt, data.Rows[0].Gold));
        Assert.Equal(["yes", "no"], data.Rows[0].Choices);
    }

    [Fact]
    public void Of_a_conversation_the_last_answer_is_asked_for()
    {
        var task = Conversations();
        var data = Open(
            task, """{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "3"}, {"role": "assistant", "content": "4"}]}""");
        Assert.Equal(("s:S;u:1;a:2;u:3;a:", "4"), (data.Rows[0].Prompt, data.Rows[0].Answer));
    }

    [Fact]
    public void A_conversation_without_an_answer_is_refused_with_its_row() => Assert.Equal(
        $"task q: {_folder["rows.jsonl"]}:1: no message of the assistant that answers another; expected one. Leave the "
        + "row out with `filter:`.",
        Assert.Throws<DataRowException>(
            () => Open(Conversations(), """{"messages": [{"role": "user", "content": "1"}]}""")).Message);

    [Theory]
    [InlineData("""{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]}""",
        "1, message 2: a tool call, which is the last that the assistant says; expected an answer in text to compare "
        + "with. Leave the row out with `filter:`.")]
    [InlineData("""{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}, {"role": "tool", "content": "2"}, {"role": "assistant", "content": "3"}]}""",
        "1, message 2: tool calls, which the template does not write; expected a chat template that knows tools. Set "
        + "`chat_template:` to one, or leave the row out with `filter:`.")]
    [InlineData("""{"tools": [{"name": "f"}], "messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "3"}]}""",
        "1: tools, which the template does not write; expected a chat template that knows tools. Set "
        + "`chat_template:` to one, or leave the row out with `filter:`.")]
    public void What_an_answer_or_the_template_leaves_out_is_refused_as_training_refuses_it(string row, string fault)
    {
        var error = Assert.ThrowsAny<UserException>(() => Open(Conversations(), row));
        Assert.Equal($"task q: {_folder["rows.jsonl"]}:{fault}", error.Message);
    }

    private EvaluationTask Conversations() => new()
    {
        Name = "q", Kind = TaskKind.Generation, Metrics = ["exact_match"],
        Sources = [new DataSetOptions
        {
            Name = "q", Files = [_folder["rows.jsonl"]], Answer = TextTemplate.Literal(""), Shape = null,
        }],
    };

    private DataSetOptions Source(string file) => new()
    {
        Name = "q", Files = [_folder[file]], Prompt = TextTemplate.Parse("{p}"), Answer = TextTemplate.Parse("{a}"),
    };

    private TaskData Open(EvaluationTask task, string row)
    {
        Write("rows.jsonl", row);
        return TaskData.Open([task], null, 0, (_, file) => file, () => Template)[0];
    }

    private string Write(string name, string row)
    {
        File.WriteAllText(_folder[name], row + "\n");
        return _folder[name];
    }
}
