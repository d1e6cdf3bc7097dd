using System.Text.Json;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>A model that learned two turns by heart, and an adapter on it, for all tests of conversations.</summary>
public sealed class TalkingModel : IDisposable
{
    internal const string Template =
        "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}{{ eos_token if m.role == 'assistant' else ';' }}"
        + "{% endfor %}{% if add_generation_prompt %}a:{% endif %}";

    public TalkingModel()
    {
        Folder.Write("talks.jsonl", string.Concat(Enumerable.Repeat("""
            {"messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "dog"}, {"role": "user", "content": "the mat"}, {"role": "assistant", "content": "ran"}]}

            """, 4)));
        Folder.Write("template.jinja", Template);
        Folder.Write("talker.yaml", $$"""
            method: full
            model: {from_config: {{TinyBase.New}}, save_dtype: float32}
            data:
              max_length: 64
              chat_template: template.jinja
              train:
                - {files: talks.jsonl}
            training: {per_device_train_batch_size: 4, max_steps: 60, learning_rate: 0.01, report_to: none}
            """);
        PeftProcess.Run(Folder, "train", "talker.yaml", "--output", "talker").Succeeds();
        Folder.Write("adapter.yaml", """
            model: {model_name_or_path: talker}
            adapter: {method: mixture, r: 2, experts: {names: [red, blue]}, router: {kind: top-k, top_k: 1}}
            data:
              max_length: 64
              train:
                - {files: talks.jsonl}
              eval:
                - {name: held, files: talks.jsonl}
            training: {per_device_train_batch_size: 4, max_steps: 2, learning_rate: 0.0001, report_to: none}
            evaluation:
              tasks: [{task: held, metric: exact_match, rows: 2, max_new_tokens: 4}]
            """);
        Train = PeftProcess.Run(Folder, "train", "adapter.yaml", "--output", "adapter").Succeeds();
    }

    internal TempFolder Folder { get; } = new();

    internal ProgramRun Train { get; }

    public void Dispose() => Folder.Dispose();
}

public sealed class ChatTests(TalkingModel model) : IClassFixture<TalkingModel>
{
    private TempFolder Folder => model.Folder;

    [Fact]
    public void A_conversation_from_a_pipe_is_answered_line_by_line_and_saved()
    {
        var run = PeftProcess.Run(
            Folder, Surroundings.WithInput("the cat", "the mat"), "chat", "--model", "talker", "--save", "saved.jsonl");
        Assert.Equal("dog\nran\n", run.Succeeds().Output);
        Assert.Equal(
            """
            {"messages":[{"role":"user","content":"the cat"},{"role":"assistant","content":"dog"},{"role":"user","content":"the mat"},{"role":"assistant","content":"ran"}]}

            """, File.ReadAllText(Folder["saved.jsonl"]));
        // What was saved is a data set.
        Folder.Write("again.yaml", File.ReadAllText(Folder["talker.yaml"]).Replace(
            "talks.jsonl", "saved.jsonl", StringComparison.Ordinal));
        Assert.Contains("roles:   user, assistant, user, assistant",
            PeftProcess.Run(Folder, "data", "again.yaml").Succeeds().Output);
    }

    [Fact]
    public void A_terminal_is_left_as_it_was()
    {
        const string InTerminal = """exec script -qec "stty -a > before; $*; stty -a > after" /dev/null""";
        var lines = Surroundings.WithInput("the cat", "/exit") with { Prefix = ["sh", "-c", InTerminal, "sh"] };
        var run = PeftProcess.Run(Folder, lines, "chat", "--model", "talker");
        Assert.Contains("dog", run.Succeeds().Output);
        Assert.Equal(File.ReadAllText(Folder["before"]), File.ReadAllText(Folder["after"]));
        Assert.Contains("icanon", File.ReadAllText(Folder["before"]));
    }

    [Fact]
    public void Commands_begin_anew_and_end_and_are_told_where_there_is_none()
    {
        var run = PeftProcess.Run(
            Folder,
            Surroundings.WithInput("the cat", "/reset", "the cat", "/system x", "/help", "/what", "/exit", "lost"),
            "chat", "--adapter", "adapter").Succeeds();
        Assert.Equal("dog\ndog\n", run.Output);
        Assert.Equal(
            """
            (a new conversation)
            (system message set)
            /system TEXT sets the system message, /reset begins anew, /exit ends (or Ctrl-D); Ctrl-C stops an answer; // begins a message with one /
            /what: no command; expected /help, /system, /reset or /exit.

            """, run.Error);
    }

    [Fact]
    public void Ctrl_C_does_not_end_a_conversation()
    {
        using var process = PeftProcess.Start(
            Folder, Surroundings.WithInput("/help") with { KeepsInputOpen = true }, "chat", "--model", "talker");
        process.WaitFor("/system TEXT");
        process.Send(PeftProcess.Interrupt);
        process.WaitFor("/exit or Ctrl-D ends");
        process.End("the cat");
        Assert.Equal("dog\n", process.Wait().Succeeds().Output);
    }

    [Fact]
    public void Experts_are_named_where_there_are_no_colours()
    {
        var run = PeftProcess.Run(
            Folder, Surroundings.WithInput("the cat"), "chat", "--adapter", "adapter", "--show-experts").Succeeds();
        Assert.Equal("experts: red  blue\n", run.Error);
        Assert.Matches(@"^\[(red|blue)\]", run.Output);
        Assert.Equal("dog\n", run.Output.Replace("[red]", "").Replace("[blue]", ""));
        Assert.Equal(
            "--show-experts: a model without a router; expected an adapter with method: mixture.\n",
            PeftProcess.Run(Folder, Surroundings.WithInput("x"), "chat", "--model", "talker", "--show-experts")
                .Exits(2).Error);
    }

    [Fact]
    public void A_bundle_remembers_its_template_and_prompts_go_through_it()
    {
        Assert.Equal(TalkingModel.Template, File.ReadAllText(Folder["talker/chat_template.jinja"]));
        Assert.Equal(TalkingModel.Template, File.ReadAllText(Folder["adapter/chat_template.jinja"]));
        Assert.Contains("chat_template.jinja", File.ReadAllText(Folder["adapter/bundle.json"]));
        Assert.Equal("dog\n", PeftProcess.Run(
            Folder, "generate", "--adapter", "adapter", "--prompt", "the cat", "--apply-chat-template", "--no-prompt")
            .Succeeds().Output);
        Assert.Equal(
            "--chat-template: 'chatml'; expected --apply-chat-template with it.\n",
            PeftProcess.Run(Folder, "generate", "--base", "talker", "--prompt", "x", "--chat-template", "chatml")
                .Exits(2).Error);
    }

    [Fact]
    public void Prompts_and_conversations_end_with_the_text_that_ends_an_answer()
    {
        // Its answers end with a letter, which the model happens to write.
        Folder.Write("letters.jinja",
            "{% for m in messages %}{{ '\n' if not loop.first }}{{ m.role[0] }}:{{ m.content }}"
            + "{{ 'g' if m.role == 'assistant' else ';' }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}");
        Assert.Equal("do\n", PeftProcess.Run(
            Folder, Surroundings.WithInput("the cat"), "chat", "--model", "talker", "--chat-template", "letters.jinja")
            .Succeeds().Output);
        Assert.Equal("do\n", PeftProcess.Run(
            Folder, "generate", "--base", "talker", "--prompt", "the cat", "--apply-chat-template", "--chat-template",
            "letters.jinja", "--no-prompt").Succeeds().Output);
        Assert.Equal("""
            {"answer":"do"}

            """, PeftProcess.Run(
            Folder, "generate", "--base", "talker", "--prompt", "the cat", "--apply-chat-template", "--chat-template",
            "letters.jinja", "--no-prompt", "--jsonl").Succeeds().Output);
    }

    [Fact]
    public void A_merged_bundle_talks_through_the_template_of_its_adapters()
    {
        Directory.CreateDirectory(Folder["mute"]);
        foreach (var file in Directory.GetFiles(Folder["talker"]))
        {
            if (Path.GetFileName(file) != "chat_template.jinja")
                File.Copy(file, Path.Combine(Folder["mute"], Path.GetFileName(file)));
        }

        foreach (var name in new[] { "left", "right" })
            PeftProcess.Run(
                Folder, "train", "adapter.yaml", "--set", "model.model_name_or_path=mute", "--set",
                "adapter={method: lora, r: 2}", "--set", "data.chat_template=template.jinja", "--output", name)
                .Succeeds();
        PeftProcess.Run(Folder, "merge", "left", "right", "--method", "average", "--output", "both").Succeeds();
        Assert.Equal(TalkingModel.Template, File.ReadAllText(Folder["both/chat_template.jinja"]));
        Assert.Equal(
            "dog\n",
            PeftProcess.Run(Folder, Surroundings.WithInput("the cat"), "chat", "--adapter", "both").Succeeds().Output);
        PeftProcess.Run(Folder, "adapter", "verify", "both").Succeeds();
    }

    [Fact]
    public void Conversations_are_measured_by_their_last_answer()
    {
        using var results = JsonDocument.Parse(File.ReadAllText(Folder["adapter/results.json"]));
        Assert.Contains("100", model.Train.Output.Replace("1.000", "100", StringComparison.Ordinal));
        var run = PeftProcess.Run(
            Folder, "eval", "--adapter", "adapter", "--no-base", "--output", "measured").Succeeds();
        Assert.Contains("1.000", run.Output);
    }

    [Theory]
    [InlineData(
        """{"tools": [{"name": "f"}], "messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "dog"}]}""",
        "asked.jsonl:1: tools, which the template does not write")]
    [InlineData(
        """{"messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]}""",
        "asked.jsonl:1, message 2: a tool call, which is the last that the assistant says")]
    public void Conversations_that_cannot_be_measured_are_refused(string row, string fault)
    {
        Folder.Write("asked.jsonl", row);
        Folder.Write("asked.yaml", "kind: generation\ndata: {files: asked.jsonl}\nmetrics: [exact_match]\n");
        PeftProcess.Run(
            Folder, "eval", "--adapter", "adapter", "--tasks", "asked.yaml", "--output", "asked")
            .IsRefused($"task asked: {fault}");
        Assert.False(Directory.Exists(Folder["asked"]));
    }

    [Fact]
    public void Data_shows_roles_and_what_is_learned()
    {
        var output = PeftProcess.Run(Folder, "data", "adapter.yaml", "--rows", "1").Succeeds().Output;
        Assert.Contains("  roles:   user, assistant, user, assistant\n", output);
        Assert.Contains("[<|endoftext|>]", output);
        Assert.DoesNotContain("[;]", output);
    }

    [Fact]
    public void A_base_without_a_template_is_refused_with_the_names_of_the_catalog()
    {
        Folder.Write("none.yaml", TinyBase.Recipe("{method: lora, r: 2}", "{max_steps: 1}").Replace(
            $"files: {TinyBase.RowsFile}", "files: talks.jsonl", StringComparison.Ordinal).Replace(
            "template: {prompt: \"{question}\", answer: \"{answer}\"}", "limit: 2", StringComparison.Ordinal));
        var message = PeftProcess.Run(Folder, "train", "none.yaml", "--output", "none").Exits(2).Error;
        Assert.Equal(
            $"data.chat_template: missing, and {TinyBase.Model} has no chat template; expected alpaca, chatml, gemma, "
            + "llama2, llama3, mistral, phi3, qwen3, tulu, vicuna or zephyr, a file, or the text of a template. "
            + "For example chat_template: chatml.\n", message);
        Assert.False(Directory.Exists(Folder["none"]));
    }

    [Theory]
    [InlineData(
        """{"messages": [{"role": "robot", "content": "x"}]}""",
        "bad.jsonl:1, message 1: the role 'robot'; expected system, developer, user, assistant or tool. Correct the "
        + "row, leave it out with `filter:`, or set `on_bad_row: skip`.")]
    [InlineData(
        """{"messages": []}""",
        "bad.jsonl:1: no messages; expected at least one from the user and one from the assistant. Correct the row, "
        + "leave it out with `filter:`, or set `on_bad_row: skip`.")]
    [InlineData(
        """{"messages": [{"role": "user", "content": "the cat"}]}""",
        "bad.jsonl:1: no message from the assistant; expected one to learn. Leave the row out with `filter:`, or set "
        + "`on_bad_row: skip`.")]
    [InlineData(
        """{"messages": [{"role": "user", "content": "never"}, {"role": "assistant", "content": "x"}]}""",
        "bad.jsonl:1, message 1: the chat template refuses the conversation: not this. Correct the messages, or choose "
        + "another template with `chat_template:`.")]
    [InlineData(
        """{"messages": [{"role": "user", "content": "the cat"}, {"role": "tool", "content": "5"}, {"role": "assistant", "content": "x"}]}""",
        "bad.jsonl:1, message 2: the result of a tool, which the template does not write; expected a chat template "
        + "that knows tools. Set `chat_template:` to one, or leave the row out with `filter:`.")]
    [InlineData(
        """{"messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}, {"role": "assistant", "content": "x"}]}""",
        "bad.jsonl:1, message 2: tool calls, which the template does not write; expected a chat template that knows "
        + "tools. Set `chat_template:` to one, or leave the row out with `filter:`.")]
    [InlineData(
        """{"messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "x"}], "tools": 5}""",
        "bad.jsonl:1: the tools are a number; expected a list of objects. Correct the row, leave it out with "
        + "`filter:`, or set `on_bad_row: skip`.")]
    public void A_conversation_that_cannot_be_learned_is_refused_and_nothing_is_written(string row, string message)
    {
        Folder.Write("bad.jsonl", row + "\n");
        Folder.Write("bad.yaml", """
            model: {model_name_or_path: talker}
            adapter: {method: lora, r: 2}
            data:
              max_length: 64
              chat_template: "{% for m in messages if m.role != 'tool' %}{{ raise_exception('not this') if m.content == 'never' }}{{ m.content }};{% endfor %}"
              train:
                - {files: bad.jsonl}
            training: {max_steps: 1, report_to: none}
            """);
        Assert.Equal(message + "\n", PeftProcess.Run(Folder, "train", "bad.yaml", "--output", "bad").Exits(2).Error);
        Assert.False(Directory.Exists(Folder["bad"]));
    }

    [Fact]
    public void A_message_longer_than_the_context_is_refused()
    {
        var run = PeftProcess.Run(
            Folder, Surroundings.WithInput(string.Concat(Enumerable.Repeat("the cat ", 80))), "chat", "--model",
            "talker").Exits(2);
        Assert.Matches(
            @"^the message: \d+ tokens with the system message; expected fewer than the model's 64 positions. "
            + "Shorten it.\n$", run.Error);
    }
}
