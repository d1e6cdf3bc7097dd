namespace Peft.Chat.Tests;

/// <summary>What of a conversation is learned.</summary>
public sealed class LearnedTurnsTests
{
    private const string Plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>\n{% endfor %}"
        + "{% if add_generation_prompt %}<assistant>{% endif %}";

    private static readonly Conversation Talk = Conversation.Of(
        ("system", "Be brief."), ("user", "1?"), ("assistant", "2"), ("user", "3?"), ("assistant", "4"));

    [Fact]
    public void Without_marks_the_stretches_are_found_by_rendering_beginnings() =>
        Assert.Equal(["2</s>\n", "4</s>\n"], Learned(Plain, Talk, TrainOn.Assistant));

    [Fact]
    public void The_last_message_of_the_assistant_can_be_learned_alone() =>
        Assert.Equal(["4</s>\n"], Learned(Plain, Talk, TrainOn.LastAssistant));

    [Fact]
    public void All_of_it_can_be_learned() =>
        Assert.Equal(
            ["<system>Be brief.</s>\n<user>1?</s>\n<assistant>2</s>\n<user>3?</s>\n<assistant>4</s>\n"],
            Learned(Plain, Talk, TrainOn.All));

    [Fact]
    public void Marks_of_the_template_are_taken_as_they_are()
    {
        const string Marked = "{% for m in messages %}[{% if m.role == 'assistant' %}{% generation %}{{ m.content }}!"
            + "{% endgeneration %}{% else %}{{ m.content }}{% endif %}]{% endfor %}";
        Assert.Equal(["2!", "4!"], Learned(Marked, Talk, TrainOn.Assistant));
        Assert.Equal(["4!"], Learned(Marked, Talk, TrainOn.LastAssistant));
    }

    [Fact]
    public void A_message_behind_the_last_answer_is_not_learned()
    {
        var open = Conversation.Of(("user", "1?"), ("assistant", "2"), ("user", "3?"));
        Assert.Equal(["2</s>\n"], Learned(Plain, open, TrainOn.LastAssistant));
    }

    [Fact]
    public void A_template_that_writes_earlier_turns_otherwise_is_refused_with_the_message()
    {
        // As templates do that drop the thoughts of earlier turns.
        const string Forgetful = "{% for m in messages %}<{{ m.role }}>{% if loop.last and m.role == 'assistant' %}"
            + "(thinks){% endif %}{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
        Assert.Equal(["(thinks)4</s>"], Learned(Forgetful, Talk, TrainOn.LastAssistant));
        Refused(
            Forgetful, Talk,
            "chat.jsonl:7, message 3: the chat template writes the conversation up to the message's end otherwise when "
            + "it is rendered by itself; expected the beginning of the whole text, to tell what the assistant says. "
            + "Set `train_on: last_assistant`, or `chat_template:` to a template with {% generation %}, such as "
            + "alpaca, chatml, gemma, llama2, llama3, mistral, phi3, qwen3, tulu, vicuna or zephyr.");
    }

    [Fact]
    public void A_beginning_of_an_answer_that_the_answer_lacks_is_refused() =>
        Refused(
            "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
            + "{% if add_generation_prompt %}<assistant><think>{% endif %}",
            Talk,
            "chat.jsonl:7, message 3: the chat template writes the conversation before the message otherwise when "
            + "it is rendered by itself; expected the beginning of the whole text, to tell what the assistant says. "
            + "Set `train_on: last_assistant`, or `chat_template:` to a template with {% generation %}, such as "
            + "alpaca, chatml, gemma, llama2, llama3, mistral, phi3, qwen3, tulu, vicuna or zephyr.");

    [Fact]
    public void A_conversation_without_an_answer_is_refused() =>
        Refused(
            Plain, Conversation.Of(("user", "1?")),
            "chat.jsonl:7: no message from the assistant; expected one to learn. "
            + "Leave the row out with `filter:`, or set `on_bad_row: skip`.");

    [Fact]
    public void A_template_that_refuses_is_told_with_the_message_at_which_it_does() =>
        Refused(
            "{% for m in messages %}{% if m.role == 'user' and loop.index == 4 %}{{ raise_exception('One turn only') }}"
            + "{% endif %}{{ m.content }}{% endfor %}",
            Talk,
            "chat.jsonl:7, message 4: the chat template refuses the conversation: One turn only. Correct the messages, "
            + "or choose another template with `chat_template:`.");

    [Fact]
    public void Calls_and_results_of_tools_that_a_template_does_not_write_are_refused()
    {
        const string Deaf = "{% for m in messages if m.role != 'tool' %}{{ m.content }}</s>{% endfor %}";
        var calls = Read("""
            [{"role": "user", "content": "1?"},
             {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]
            """);
        Refused(Deaf, calls, "chat.jsonl:7, message 2: tool calls, which the template does not write; expected a chat "
            + "template that knows tools. Set `chat_template:` to one, or leave the row out with `filter:`.");
        var results = Conversation.Of(("user", "1?"), ("tool", "5"), ("assistant", "It is 5."));
        Refused(Deaf, results, "chat.jsonl:7, message 2: the result of a tool, which the template does not write; "
            + "expected a chat template that knows tools. Set `chat_template:` to one, or leave the row out with "
            + "`filter:`.");
        Assert.Equal(["It is 5.</s>\n"], Learned(Plain, results, TrainOn.Assistant));
    }

    [Fact]
    public void A_call_without_content_is_told_as_a_call_where_the_template_knows_none() =>
        Refused(
            "{% for m in messages %}{{ m.content + '</s>' }}{% endfor %}",
            Read("""
                [{"role": "user", "content": "1?"},
                 {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
                 {"role": "tool", "content": "5"}, {"role": "assistant", "content": "5"}]
                """),
            "chat.jsonl:7, message 2: tool calls, which the template does not write; expected a chat template that "
            + "knows tools. Set `chat_template:` to one, or leave the row out with `filter:`.");

    [Fact]
    public void A_template_that_cannot_be_carried_out_says_why_and_at_which_message() =>
        Refused(
            "{% for m in messages %}{{ m.content + (1 if loop.index == 3 else '') }}{% endfor %}", Talk,
            "chat.jsonl:7, message 3: the chat template fails: can only concatenate str (not \"int\") to str. Correct "
            + "the messages, or choose another template with `chat_template:`.");

    [Fact]
    public void A_template_beyond_its_limits_is_not_tried_on_every_beginning() =>
        Refused(
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", Talk,
            "chat.jsonl:7: the chat template fails: calls and loops nest more than 200 levels deep. Correct the "
            + "messages, or choose another template with `chat_template:`.");

    [Theory]
    [InlineData(TrainOn.Assistant, 3)]
    [InlineData(TrainOn.LastAssistant, 5)]
    public void A_template_that_begins_an_answer_behind_every_conversation_is_refused(TrainOn on, int message)
    {
        // Llama 3's first one.
        const string First = "{% for m in messages %}[{{ m.role }}]{{ m.content }}</s>{% endfor %}{{ '[assistant]' }}";
        var error = Assert.Throws<ChatException>(() => Learned(First, Talk, on).ToList());
        Assert.Equal(
            $"chat.jsonl:7, message {message}: the chat template writes the beginning of a further answer behind every "
            + "conversation; expected one that ends with its last message. Set `chat_template:` to another, such as "
            + "alpaca, chatml, gemma, llama2, llama3, mistral, phi3, qwen3, tulu, vicuna or zephyr.",
            error.At("chat.jsonl:7").ToString());
    }

    [Fact]
    public void What_a_template_writes_behind_the_last_answer_alone_is_learned_with_it() =>
        Assert.Equal(
            ["4</s>"],
            Learned("{% for m in messages %}{{ m.content }}{{ '</s>' if loop.last and m.role == 'assistant' }}"
                + "{% endfor %}", Talk, TrainOn.LastAssistant));

    [Fact]
    public void Parts_of_text_are_one_text_for_a_template_that_knows_no_parts()
    {
        var parts = Read("""
            [{"role": "user", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "?"}]},
             {"role": "assistant", "content": "2"}]
            """);
        Assert.Equal("<user>1?</s>\n<assistant>2</s>\n",
            LearnedTurns.Of(ChatTemplate.Parse(Plain, "t", new Dictionary<string, string>()), parts,
                TrainOn.Assistant).Text);
        const string Parted = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
            + "{% for p in m.content %}({{ p.text }}){% endfor %}{% endif %};{% endfor %}";
        Assert.Equal("(1)(?);2;",
            LearnedTurns.Of(ChatTemplate.Parse(Parted, "t", new Dictionary<string, string>()), parts,
                TrainOn.Assistant).Text);
    }

    [Fact]
    public void Turns_begin_with_the_users_and_leave_from_the_front()
    {
        var talk = Conversation.Of(
            ("system", "S"), ("assistant", "Welcome"), ("user", "1"), ("user", "2"), ("assistant", "3"), ("tool", "4"),
            ("assistant", "5"), ("user", "6"), ("assistant", "7"));
        Assert.Equal([1, 7], talk.Turns);
        Assert.Equal(["S", "6", "7"], talk.Without(1).Messages.Select(message => message.Text));
        Assert.Equal([1, 8, 9], talk.Without(1).Messages.Select(message => message.Number));
    }

    private static Conversation Read(string json) =>
        ConversationReader.Read(System.Text.Json.JsonDocument.Parse(json).RootElement);

    private static IEnumerable<string> Learned(string template, Conversation conversation, TrainOn on)
    {
        var text = LearnedTurns.Of(
            ChatTemplate.Parse(template, "t", new Dictionary<string, string>()), conversation, on);
        return text.Learned.Select(span => text.Text[span.Start..span.End]);
    }

    private static void Refused(string template, Conversation conversation, string message)
    {
        var error = Assert.Throws<ChatException>(() => Learned(template, conversation, TrainOn.Assistant).ToList());
        Assert.Equal(message, error.At("chat.jsonl:7").ToString());
    }
}
