using System.Text.Json;

namespace Peft.Chat.Tests;

/// <summary>Conversations of data sets, and what is none.</summary>
public sealed class ConversationReaderTests
{
    [Fact]
    public void Messages_are_read_as_they_are()
    {
        var talk = Read("""
            [{"role": "system", "content": "S"}, {"role": "user", "content": "U", "name": "Ann", "tool_calls": null},
             {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": null}}}]},
             {"role": "tool", "content": "5"}]
            """);
        Assert.Equal(["system", "user", "assistant", "tool"], talk.Messages.Select(message => message.Role));
        Assert.Equal("""{"role":"user","content":"U","name":"Ann"}""", talk.Messages[1].Json.GetRawText());
        Assert.Equal(
            """{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":{"x":null}}}]}""",
            talk.Messages[2].Json.GetRawText());
    }

    [Fact]
    public void ShareGpt_is_read_by_its_names()
    {
        var talk = ConversationReader.Read(Json("""
            [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
             {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
             {"from": "observation", "value": "2"}]
            """), "Be kind.");
        Assert.Equal(
            ["system: Be kind.", "user: Hi", "assistant: Hello", "assistant: ", "tool: 2"],
            talk.Messages.Select(message => $"{message.Role}: {message.Text}"));
        Assert.Equal("""{"name":"f","arguments":{"x":1}}""",
            talk.Messages[3].Json.GetProperty("tool_calls")[0].GetProperty("function").GetRawText());
    }

    [Fact]
    public void A_text_of_JSON_is_read_as_the_list_that_it_is() =>
        Assert.Equal("Hi", Read("""
            "[{\"role\": \"user\", \"content\": \"Hi\"}]"
            """).Messages[0].Text);

    [Fact]
    public void Alpaca_is_one_turn()
    {
        Assert.Equal(
            ["user: Name the capital.\n\nFrance", "assistant: Paris"],
            ConversationReader.OfAlpaca("Name the capital.", "France", "Paris", null).Messages
                .Select(message => $"{message.Role}: {message.Text}"));
        Assert.Equal(
            ["system: S", "user: Hi", "assistant: Ho"],
            ConversationReader.OfAlpaca("Hi", "", "Ho", "S").Messages
                .Select(message => $"{message.Role}: {message.Text}"));
    }

    [Theory]
    [InlineData("[]", "row 1: no messages; expected at least one from the user and one from the assistant.")]
    [InlineData("5", "row 1: the messages are a number; expected a list of messages.")]
    [InlineData("\"hello\"", "row 1: the messages are a text that is not JSON; expected a list, or JSON of one.")]
    [InlineData("[7]", "row 1, message 1: a number; expected an object with role and content.")]
    [InlineData("""[{"content": "x"}]""", "row 1, message 1: no role; expected an object with role and content.")]
    [InlineData("""[{"role": "user", "content": "x"}, {"role": "robot", "content": "x"}]""",
        "row 1, message 2: the role 'robot'; expected system, developer, user, assistant or tool.")]
    [InlineData("""[{"from": "someone", "value": "x"}]""",
        "row 1, message 1: the role 'someone'; expected human, user, gpt, assistant, model, chatgpt, bing, bard, "
        + "system, tool, observation, function_response or function_call.")]
    [InlineData("""[{"role": "user", "content": null}]""",
        "row 1, message 1: no content; expected a text, or a list of parts.")]
    [InlineData("""[{"role": "user", "content": 5}]""",
        "row 1, message 1: content that is a number; expected a text, or a list of parts.")]
    [InlineData("""[{"role": "user", "content": [{"type": "image", "url": "x"}]}]""",
        "row 1, message 1: a part of type 'image'; expected text. The models here read nothing else: leave the row "
        + "out with `filter:`.")]
    [InlineData("""[{"from": "function_call", "value": "f(x)"}]""",
        "row 1, message 1: a function_call of 'f(x)'; expected JSON of an object with name and arguments.")]
    [InlineData("""[{"role": "assistant", "content": "", "tool_calls": "f()"}]""",
        "row 1, message 1: tool_calls that are a text; expected a list of calls such as {type: function, function: "
        + "{name: ..., arguments: ...}}.")]
    [InlineData("""[{"role": "assistant", "content": "", "tool_calls": [null]}]""",
        "row 1, message 1: a tool call without a name; expected calls such as {type: function, function: "
        + "{name: ..., arguments: ...}}.")]
    [InlineData("""[{"role": "assistant", "content": null, "tool_calls": [{"function": {"arguments": {}}}]}]""",
        "row 1, message 1: a tool call without a name; expected calls such as {type: function, function: "
        + "{name: ..., arguments: ...}}.")]
    public void What_is_no_conversation_is_refused_with_the_message(string json, string message) =>
        Assert.Equal(message, Assert.Throws<ChatException>(() => Read(json)).At("row 1").ToString());

    [Fact]
    public void Tools_and_variables_are_lists_and_objects_or_JSON_of_them()
    {
        var tools = ConversationReader.Tools(Json("""[{"name": "f"}]"""))!.Value;
        Assert.Equal("f", tools[0].GetProperty("name").GetString());
        Assert.NotNull(ConversationReader.Tools(Json("\"[{}]\"")));
        Assert.All(["null", "[]", "\" \""], text => Assert.Null(ConversationReader.Tools(Json(text))));
        var variables = ConversationReader.Variables(Json("""{"enable_thinking": false}"""), "kwargs");
        Assert.Equal(JsonValueKind.False, variables["enable_thinking"].ValueKind);
        Assert.Single(ConversationReader.Variables(Json("\"{\\\"a\\\": 1}\""), "kwargs"));
        Assert.Empty(ConversationReader.Variables(null, "kwargs"));
    }

    [Theory]
    [InlineData("5", "row 1: the tools are a number; expected a list of objects.")]
    [InlineData("""["f"]""", "row 1: tool 1 is a text; expected an object that describes it.")]
    [InlineData("\"[\"", "row 1: the tools are a text that is not JSON; expected a list, or JSON of one.")]
    public void Tools_that_are_none_are_refused(string json, string message) =>
        Assert.Equal(
            message, Assert.Throws<ChatException>(() => ConversationReader.Tools(Json(json))).At("row 1").ToString());

    [Theory]
    [InlineData("[1]", "row 1: kwargs are a list; expected an object of names and values.")]
    [InlineData("\"{\"", "row 1: kwargs are a text that is not JSON; expected an object of names and values, or JSON "
        + "of one.")]
    [InlineData("""{"messages": []}""", "row 1: 'messages' in kwargs; expected variables other than messages, tools "
        + "and add_generation_prompt. The columns of the row say what these are.")]
    public void Variables_that_are_none_are_refused(string json, string message) =>
        Assert.Equal(
            message,
            Assert.Throws<ChatException>(() => ConversationReader.Variables(Json(json), "kwargs")).At("row 1")
                .ToString());

    private static Conversation Read(string json) => ConversationReader.Read(Json(json));

    private static JsonElement Json(string json) => JsonDocument.Parse(json).RootElement.Clone();
}
