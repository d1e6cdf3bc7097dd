using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Jinja;

namespace Peft.Chat.Tests;

/// <summary>The common templates, and how the one that is asked for is found.</summary>
public sealed class TemplateCatalogTests
{
    [SharedTheory]
    [InlineData("chatml", "chatml_default")]
    [InlineData("llama3", "llama3_instruct")]
    [InlineData("llama3", "llama3_training_trl")]
    [InlineData("mistral", "mistral_v0.1")]
    [InlineData("gemma", "gemma_it")]
    [InlineData("zephyr", "zephyr_tinyllama")]
    [InlineData("phi3", "phi3")]
    [InlineData("tulu", "tulu")]
    [InlineData("qwen3", "qwen3_training_trl")]
    public void A_template_of_the_catalog_writes_what_the_published_one_writes(string name, string published)
    {
        using var file = JsonDocument.Parse(File.ReadAllBytes(
            SharedAssets.Path("vectors", "chat", published + ".json")));
        var root = file.RootElement;
        var now = DateTime.Parse(root.GetProperty("now").GetString()!);
        var template = JinjaTemplate.Parse(TemplateCatalog.Text(name));
        var wrong = new List<string>();
        foreach (var entry in root.GetProperty("cases").EnumerateArray())
        {
            var variables = new Dictionary<string, JsonElement>();
            foreach (var token in root.GetProperty("special_tokens").EnumerateObject())
            {
                if (token.Value.ValueKind != JsonValueKind.Null)
                    variables[token.Name] = token.Value;
            }

            foreach (var key in new[] { "messages", "tools", "documents", "add_generation_prompt" })
                variables[key] = entry.TryGetProperty(key, out var value) ? value : default;
            if (entry.TryGetProperty("kwargs", out var more) && more.ValueKind == JsonValueKind.Object)
            {
                foreach (var item in more.EnumerateObject())
                    variables[item.Name] = item.Value;
            }

            string got;
            try
            {
                got = template.Render(variables, now).Text;
            }
            catch (JinjaException error)
            {
                got = error.Kind == JinjaErrorKind.Raised ? error.Message : "error";
            }

            var wanted = entry.TryGetProperty("expected", out var text) ? text.GetString()
                : entry.GetProperty("error_kind").GetString() == "raise_exception"
                ? entry.GetProperty("error").GetString() : "error";
            if (got != wanted)
                wrong.Add($"{entry.GetProperty("name").GetString()}: {wanted} | {got}");
        }

        Assert.Empty(wrong);
    }

    [Fact]
    public void Every_template_of_the_catalog_marks_what_the_assistant_says_and_its_end()
    {
        var tokens = new Dictionary<string, string> { ["bos_token"] = "<s>", ["eos_token"] = "</s>" };
        Assert.NotEmpty(TemplateCatalog.Names);
        foreach (var name in TemplateCatalog.Names)
        {
            var template = ChatTemplate.Parse(TemplateCatalog.Text(name), name, tokens);
            var talk = Conversation.Of(("user", "One?"), ("assistant", "Two."), ("user", "Three?"),
                ("assistant", "Four."));
            var text = LearnedTurns.Of(template, talk, TrainOn.Assistant);
            var learned = text.Learned.Select(span => text.Text[span.Start..span.End].Trim()).ToList();
            Assert.Equal(2, learned.Count);
            Assert.All(learned.Zip(["Two.", "Four."]), pair => Assert.Contains(pair.Second, pair.First));
            Assert.All(learned, one => Assert.EndsWith(">", one));
        }
    }

    [Fact]
    public void A_template_is_a_text_or_the_checkpoints_or_a_common_one_or_a_file()
    {
        using var folder = new TempFolder();
        folder.Put("tokenizer_config.json", new JsonObject
        {
            ["chat_template"] = new JsonArray(
                new JsonObject { ["name"] = "default", ["template"] = "own" },
                new JsonObject { ["name"] = "chatml", ["template"] = "own chatml" }),
        }.ToJsonString());
        var file = folder.Put("mine.jinja", "from a file");
        var own = ChatTemplates.Read(folder.Path);
        Assert.Equal("own", Found(null));
        Assert.Equal("own chatml", Found("chatml"));
        Assert.Equal(TemplateCatalog.Text("zephyr"), Found("zephyr"));
        Assert.Equal("{{ messages }}", Found("{{ messages }}"));
        Assert.Equal("from a file", Found(file));

        string Found(string? asked) =>
            TemplateCatalog.Find(asked, own, path => path, "data.chat_template").Source;
    }

    [Fact]
    public void A_template_file_stands_for_all_templates_of_the_configuration()
    {
        using var folder = new TempFolder();
        folder.Put("tokenizer_config.json", new JsonObject
        {
            ["eos_token"] = "</s>",
            ["chat_template"] = new JsonArray(
                new JsonObject { ["name"] = "default", ["template"] = "old" },
                new JsonObject { ["name"] = "tool_use", ["template"] = "old with tools" }),
        }.ToJsonString());
        Assert.Equal("old with tools", TemplateCatalog.Find(null, Own(), path => path, "x").ToolUse!.Source);
        folder.Put("chat_template.jinja", "new");
        Assert.Equal(["default"], Own().ByName.Keys);
        Assert.Equal("new", Own().Choose(null, hasTools: true));
        folder.Put("additional_chat_templates/tool_use.jinja", "new with tools");
        Assert.Equal("new with tools", Own().Choose(null, hasTools: true));

        ChatTemplates Own() => ChatTemplates.Read(folder.Path);
    }

    [Fact]
    public void A_remembered_default_keeps_the_one_for_tools_beside_it_and_another_one_does_not()
    {
        using var folder = new TempFolder();
        folder.Put("chat_template.jinja", "own");
        folder.Put("additional_chat_templates/tool_use.jinja", "own with tools");
        var own = ChatTemplates.Read(folder.Path);
        Assert.Equal("own with tools", own.WithDefault("own").Choose(null, hasTools: true));
        Assert.Equal("other", own.WithDefault("other").Choose(null, hasTools: true));
    }

    [Fact]
    public void Several_templates_without_a_default_ask_for_a_name()
    {
        using var folder = new TempFolder();
        folder.Put("additional_chat_templates/rag.jinja", "with documents");
        folder.Put("additional_chat_templates/tool_use.jinja", "with tools");
        var own = ChatTemplates.Read(folder.Path);
        Assert.Equal(
            $"{folder.Path}: no chat template 'default'; expected rag or tool_use. Name the template to be used.",
            Assert.Throws<UserException>(() => TemplateCatalog.Find(null, own, path => path, "x")).Message);
        Assert.Equal(
            $"{folder.Path}: no chat template 'rat'; expected rag or tool_use.",
            Assert.Throws<UserException>(() => own.Choose("rat", hasTools: false)).Message);
        Assert.Equal("with documents", TemplateCatalog.Find("rag", own, path => path, "x").Source);
    }

    [Fact]
    public void What_is_no_template_is_refused_with_the_names_of_the_catalog()
    {
        using var folder = new TempFolder();
        var own = ChatTemplates.Read(folder.Path);
        var missing = Assert.Throws<UserException>(
            () => TemplateCatalog.Find(null, own, path => path, "data.chat_template"));
        Assert.Equal(
            $"data.chat_template: missing, and {folder.Path} has no chat template; expected alpaca, chatml, gemma, "
            + "llama2, llama3, mistral, phi3, qwen3, tulu, vicuna or zephyr, a file, or the text of a template. "
            + "For example chat_template: chatml.", missing.Message);
        var unknown = Assert.Throws<UserException>(
            () => TemplateCatalog.Find("chatmll", own, path => path, "--chat-template"));
        Assert.Equal(
            "--chat-template: 'chatmll' is no template and no file; expected alpaca, chatml, gemma, llama2, llama3, "
            + "mistral, phi3, qwen3, tulu, vicuna or zephyr, a file, or the text of a template. Did you mean chatml?",
            unknown.Message);
        var broken = Assert.Throws<UserException>(
            () => TemplateCatalog.Find("{% if %}", own, path => path, "data.chat_template"));
        Assert.StartsWith("data.chat_template, line 1: ", broken.Message);
        Assert.Equal(
            "data.chat_template, line 1: Unexpected end of template. Jinja was looking for the following "
            + "tags: 'endfor' or 'else'. The innermost block that needs to be closed is 'for'; "
            + "expected a chat template in Jinja.",
            Assert.Throws<UserException>(() => TemplateCatalog.Find(
                "{% for m in messages %}", own, path => path, "data.chat_template")).Message);
    }
}
