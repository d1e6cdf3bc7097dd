using System.Buffers.Binary;
using System.Text;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Chat;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;
using Peft.Formats.Templates;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Recipes;
using Peft.Recipes.Reading;
using Peft.Training.Checkpoints;

namespace Peft.Fuzz.Tests;

/// <summary>Every reader of files and texts that a stranger may have written.</summary>
internal static class FuzzParsers
{
    private const string Text = "Hello, wörld \U0001F642 <s> it's 12345\n\n e\u0301\u2581x\u0000";

    private static readonly string[] Modules =
    [
        "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.v_proj",
        "model.layers.1.mlp.down_proj", "lm_head",
    ];

    private static readonly Lazy<Scriban.Runtime.ScriptObject> Row = new(() => TemplateValues.OfPairs(
    [
        new("a", "x"), new("n", 4), new("q", "why"), new("x", "y"), new("letters", "l e"), new("a b", true),
        new("l", new[]
        {
            new Dictionary<string, object?> { ["t"] = null }, new Dictionary<string, object?> { ["t"] = 1.5 },
        }),
    ]));

    private static readonly Dictionary<string, string> Tokens = new()
    {
        ["bos_token"] = "<s>", ["eos_token"] = "</s>",
    };

    private static readonly Lazy<List<ChatTemplate>> Templates = new(() =>
    [
        ChatTemplate.Parse(TemplateCatalog.Text("qwen3"), "qwen3", Tokens),
        ChatTemplate.Parse(TemplateCatalog.Text("zephyr"), "zephyr", Tokens),
        ChatTemplate.Parse(
            Encoding.UTF8.GetString(FuzzSeeds.ChatTemplates[0]), "unmarked", Tokens),
    ]);

    private static readonly Lazy<List<Conversation>> Talks = new(() =>
    [
        Conversation.Of(
            ("system", "S"), ("user", "U \U0001F642"), ("assistant", "A"), ("user", ""), ("assistant", "B")),
        ConversationReader.Read(System.Text.Json.JsonDocument.Parse(
            """
            [{"role": "user", "content": [{"type": "text", "text": "x"}]},
             {"role": "assistant", "content": null,
              "tool_calls": [{"function": {"name": "f", "arguments": {"n": 1.0}}}]},
             {"role": "tool", "content": "5"}, {"role": "assistant", "content": "y"}]
            """).RootElement),
    ]);

    /// <summary>The readers, by name.</summary>
    public static IReadOnlyList<FuzzParser> All { get; } =
    [
        new("safetensors", FuzzSeeds.Safetensors, (folder, _) => ReadTensors(Path.Combine(folder, "x.safetensors")))
        {
            FileName = "x.safetensors",
            TextOf = input => HeaderOf(input),
            Mend = (input, length) =>
            {
                BinaryPrimitives.WriteInt64LittleEndian(input, length);
                return input;
            },
        },
        new("index", FuzzSeeds.Index, (folder, _) => SafetensorsCheckpoint.Open(folder))
        {
            FileName = "model.safetensors.index.json",
            Prepare = folder =>
                Write(folder, ("a.safetensors", FuzzSeeds.Safetensors[0]), ("b.safetensors", FuzzSeeds.Safetensors[1])),
        },
        new("config", FuzzSeeds.Config, (folder, _) => ModelLoader.ReadConfig(folder)) { FileName = "config.json" },
        new("generation", FuzzSeeds.Generation, (folder, _) => GenerationConfig.Read(folder))
        {
            FileName = "generation_config.json",
        },
        new("tokenizer", FuzzSeeds.Tokenizer, (folder, _) => UseTokenizer(folder)) { FileName = "tokenizer.json" },
        new("tokens", FuzzSeeds.TokenizerConfig, (folder, _) => UseTokenizer(folder))
        {
            FileName = "tokenizer_config.json",
            Prepare = folder => Write(folder, ("tokenizer.json", FuzzSeeds.Tokenizer[0])),
        },
        new("recipe", FuzzSeeds.Recipe, (folder, _) => UseRecipe(Recipe.Load(Path.Combine(folder, "recipe.yaml"), [])))
        {
            FileName = "recipe.yaml",
            Prepare = PrepareRecipe,
        },
        new("set", FuzzSeeds.Set, (folder, input) =>
            UseRecipe(Recipe.Load(Path.Combine(folder, "valid.yaml"), Encoding.UTF8.GetString(input).Split('\n'))))
        {
            Prepare = PrepareRecipe,
        },
        new("bundle", FuzzSeeds.Bundle, (folder, _) => UseOptions(OwnBundle.Open(folder).Manifest.Adapter))
        {
            FileName = BundleFiles.Manifest,
            Prepare = folder => Write(folder, [.. FuzzSeeds.BundleFiles]),
        },
        new("mixture", FuzzSeeds.ExportedMixture, (folder, _) => UseOptions(MixtureDirectory.Open(folder).Adapter))
        {
            FileName = MixtureDirectory.Manifest,
            Prepare = folder =>
            {
                Directory.CreateDirectory(Path.Combine(folder, "expert_0"));
                Write(folder, [.. FuzzSeeds.ExportedFiles]);
            },
        },
        new("adapter", FuzzSeeds.Adapter, (folder, _) => UseAdapter(LoraAdapterConfig.Read(folder, _ => { })))
        {
            FileName = LoraAdapterConfig.FileName,
        },
        new("template", FuzzSeeds.Template, (_, input) => UseTemplate(Encoding.UTF8.GetString(input))),
        new("jsonl", FuzzSeeds.JsonLines, (folder, _) => ReadRows(folder, "x.jsonl")) { FileName = "x.jsonl" },
        new("messages", FuzzSeeds.Conversations, (folder, _) => ReadConversations(folder, "x.jsonl"))
        {
            FileName = "x.jsonl",
        },
        new("chat", FuzzSeeds.ChatTemplates, (_, input) => UseChatTemplate(Encoding.UTF8.GetString(input))),
        new("json", FuzzSeeds.Json, (folder, _) => ReadRows(folder, "x.json")) { FileName = "x.json" },
        new("csv", FuzzSeeds.Csv, (folder, _) => ReadRows(folder, "x.csv")) { FileName = "x.csv" },
        new("tsv", FuzzSeeds.Tsv, (folder, _) => ReadRows(folder, "x.tsv")) { FileName = "x.tsv" },
        new("parquet", FuzzSeeds.Parquet, (folder, _) => ReadRows(folder, "x.parquet")) { FileName = "x.parquet" },
        new("results", FuzzSeeds.Results, (folder, _) => ReportSource.Load([folder])) { FileName = ResultsFile.Name },
        new("report", FuzzSeeds.Report, (_, input) => UseReport(Encoding.UTF8.GetString(input))),
        new("trainer", FuzzSeeds.Trainer, (folder, _) => TrainerStateFile.Read(folder))
        {
            FileName = TrainerStateFile.Name,
        },
        new("evaluation", FuzzSeeds.Evaluation, (folder, _) => ResultsFile.Load(folder))
        {
            FileName = ResultsFile.EarlierName,
        },
        new("task", FuzzSeeds.Task, (folder, _) =>
            TaskReader.Read(YamlReader.ReadFile(Path.Combine(folder, "task.yaml")), "task", "task.yaml"))
        {
            FileName = "task.yaml",
        },
    ];

    // All of the input where its length says nothing: an input that was kept may be broken.
    private static (int Start, int End) HeaderOf(byte[] input) =>
        input.Length >= 8 && BinaryPrimitives.ReadInt64LittleEndian(input) is >= 0 and var length
            && length <= input.Length - 8
            ? (8, 8 + (int)length)
            : (0, input.Length);

    private static void ReadTensors(string path)
    {
        var file = SafetensorsFile.Open(path);
        foreach (var name in file.Entries.Keys)
            file.ReadBytes(name);
    }

    private static void UseTokenizer(string folder)
    {
        var tokenizer = HuggingFaceTokenizer.Load(folder);
        var ids = tokenizer.EncodeToIds(Text);
        var tokens = tokenizer.EncodeToTokens(Text, out _);
        if (!tokens.Select(token => token.Id).SequenceEqual(ids))
            throw new InvalidOperationException("the tokens of a text are not its ids");
        _ = tokens.Sum(token => Text[token.Offset].Length);
        tokenizer.GetIndexByTokenCount(Text, 3, out _, out _);
        tokenizer.EncodeToIds(Text, Text, true);
        tokenizer.Decode(ids);
        var stream = tokenizer.NewDecoder(skipSpecialTokens: true);
        foreach (var id in ids)
            stream.Append(id);
        stream.Flush();
        for (var id = -1; id < Math.Min(tokenizer.EndId, 1000); id++)
            tokenizer.IdToToken(id);
    }

    private static void UseRecipe(Recipe recipe)
    {
        recipe.Identity();
        ConfigText.ToJson(recipe.Resolved);
        if (recipe.AdapterOptions is { } options)
            UseOptions(options);
    }

    // Selectors of a recipe must select something; PEFT's may not.
    private static void UseOptions(AdapterOptions options, bool strict = true)
    {
        TargetSelection.Select(Modules, "lm_head", options, strict);
        TargetSelection.Resolved(Modules, "lm_head", options);
        options.ToJson().ToJsonString();
    }

    private static void UseAdapter(LoraAdapterConfig config)
    {
        foreach (var module in Modules)
            config.ScalingOf(module);
        config.ToJson();
        UseOptions(PeftConfig.ToOptions(config, ModuleNames.AllLinear), strict: false);
    }

    private static void UseTemplate(string template)
    {
        var node = new ConfigMap(
            "", 0, [new("prompt", ConfigScalar.Of(template)), new("answer", ConfigScalar.Of("{a}"))]);
        var map = new ConfigMap("", 0, [new("files", ConfigScalar.Of("x.jsonl")), new("template", node)]);
        var reader = new OptionReader(map, "", new Faults());
        var options = DataSetOptions.Read(reader);
        reader.Faults.ThrowIfAny("template");
        options.Prompt!.Render(new TemplateEngine(), Row.Value);
    }

    private static void ReadRows(string folder, string name)
    {
        var faults = new Faults();
        var answer = TextTemplate.Parse("{{ a }} {{ n }}");
        var set = new DataSetOptions { Name = "x", Files = [name], Answer = answer, OnBadRow = BadRowPolicy.Skip };
        var reader = DataSetReader.Open(set, folder, faults);
        faults.ThrowIfAny(name);
        foreach (var _ in reader.Read())
        {
        }
    }

    // Rows of conversations through templates with marks and without, of tools and of none.
    private static void ReadConversations(string folder, string name)
    {
        var faults = new Faults();
        var reader = DataSetReader.Open(
            new DataSetOptions
            {
                Name = "x", Files = [name], Shape = null, Answer = TextTemplate.Parse(""), OnBadRow = BadRowPolicy.Skip,
            },
            folder, faults, () => Templates.Value[0]);
        faults.ThrowIfAny(name);
        foreach (var example in reader.Read())
        {
            foreach (var (template, on) in Templates.Value.Zip(Enum.GetValues<TrainOn>()))
                Learn(template, example.Conversation!, on);
        }
    }

    private static void UseChatTemplate(string source)
    {
        var template = ChatTemplate.Parse(source, "template", Tokens);
        foreach (var talk in Talks.Value)
        {
            foreach (var on in Enum.GetValues<TrainOn>())
                Learn(template, talk, on);
        }
    }

    private static void Learn(ChatTemplate template, Conversation talk, TrainOn on)
    {
        try
        {
            var text = LearnedTurns.Of(template, talk, on);
            foreach (var (start, end) in text.Learned)
                _ = text.Text[start..end].Length;
            foreach (var cut in Enumerable.Range(0, talk.Turns.Count))
                template.Render(talk.Without(cut), asks: true);
        }
        catch (ChatException error)
        {
            _ = error.At("row").ToString(); // the row's fault, told in the house's form
        }
    }

    private static void UseReport(string template) => ReportRenderer.Render(
        new("x.md", template, OutputFormat.Markdown), FuzzSeeds.Model.Value,
        new TemplateLimits { Loops = 10_000, Characters = 1 << 20, Bytes = 64 << 20, Time = TimeSpan.FromSeconds(2) });

    private static void PrepareRecipe(string folder)
    {
        Directory.CreateDirectory(Path.Combine(folder, "base"));
        Write(folder, ("base/frag.yaml", FuzzSeeds.Fragment), ("valid.yaml", FuzzSeeds.Recipe[0]),
            ("other.yaml", FuzzSeeds.Recipe[1]));
    }

    private static void Write(string folder, params (string Name, byte[] Bytes)[] files)
    {
        foreach (var (name, bytes) in files)
            File.WriteAllBytes(Path.Combine(folder, name), bytes);
    }
}
