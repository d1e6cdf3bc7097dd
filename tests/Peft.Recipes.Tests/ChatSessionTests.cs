using Peft.Chat;
using Peft.Models;

namespace Peft.Recipes.Tests;

/// <summary>A conversation with a real, small model.</summary>
public sealed class ChatSessionTests
{
    private static readonly ChatTemplate Template = ChatTemplate.Parse(
        "{% for m in messages %}{{ m.content + ' ' }}{% endfor %}", "plain", new Dictionary<string, string>());

    [SharedFact]
    public void Keys_and_values_stay_where_the_text_goes_on_and_change_nothing_of_what_is_written()
    {
        using var loaded = Open();
        using var session = new ChatSession(loaded, Template, new GenerationOptions { MaxNewTokens = 12 });
        var first = Said(session, "Once upon a time, there was a little girl named");
        Assert.Equal(0, session.ReusedTokens);
        Assert.StartsWith("Lily", first, StringComparison.Ordinal);
        var second = Said(session, "One day, Tom");
        Assert.InRange(session.ReusedTokens, 12, 60);

        var talk = new Conversation([.. session.Conversation.Messages.SkipLast(1)]);
        var prompt = loaded.Encoder.Prompt(Template.Render(talk, asks: true).Text);
        var ids = TextGeneration.Generate(
            loaded.Model, prompt.Ids, new GenerationOptions { MaxNewTokens = 12, EosTokenIds = [] });
        var all = loaded.Tokenizer.Decode(prompt.Ids.Concat(ids), skipSpecialTokens: true);
        Assert.EndsWith(second, all, StringComparison.Ordinal);
        Assert.Contains("One day, Tom", all, StringComparison.Ordinal);
    }

    [SharedFact]
    public void An_answer_that_is_stopped_stays_as_far_as_it_was_written()
    {
        using var loaded = Open();
        using var session = new ChatSession(loaded, Template, new GenerationOptions { MaxNewTokens = 50 });
        var asked = 0;
        var text = string.Concat(
            session.Answer("Once upon a time, there was a little girl named", () => ++asked > 3).Select(p => p.Text));
        Assert.Equal(4, asked);
        Assert.Equal(text, session.Conversation.Messages[^1].Text);
        Assert.InRange(text.Length, 1, 20);
        Assert.NotEqual("", Said(session, "She"));
    }

    [SharedFact]
    public void A_conversation_that_outgrows_the_context_loses_its_first_turns()
    {
        using var loaded = Open();
        using var session = new ChatSession(loaded, Template, new GenerationOptions { MaxNewTokens = 8 });
        var most = loaded.Model.Config.MaxPositionEmbeddings;
        for (var turn = 0; session.LeftOutTurns == 0; turn++)
        {
            Assert.InRange(turn, 0, most);
            Said(session, "Once upon a time, there was a little girl named Lily. She liked to play outside.");
        }

        Assert.True(session.Conversation.Turns.Count > session.LeftOutTurns);
    }

    [SharedFact]
    public void A_message_that_the_template_refuses_is_not_part_of_the_conversation()
    {
        using var loaded = Open();
        var refusing = ChatTemplate.Parse(
            "{% if messages[-1].content == 'no' %}{{ raise_exception('never') }}{% endif %}{{ messages[-1].content }}",
            "refusing", new Dictionary<string, string>());
        using var session = new ChatSession(loaded, refusing, new GenerationOptions { MaxNewTokens = 2 });
        Assert.Throws<ChatException>(() => session.Answer("no", () => false));
        Assert.Empty(session.Conversation.Messages);
    }

    private static LoadedModel Open() => LoadedModel.Open(
        SharedAssets.Path("models", "stories260K"), null, "float32", TorchSharp.torch.CPU);

    private static string Said(ChatSession session, string message) =>
        string.Concat(session.Answer(message, () => false).Select(piece => piece.Text));
}
