using System.Text;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Data.Batches;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;
using Peft.Training;
using Peft.Training.Checkpoints;

namespace Peft.Fuzz.Tests;

/// <summary>Valid inputs: small, and between them with every key that a reader knows.</summary>
internal static class FuzzSeeds
{
    public static byte[][] Safetensors { get; } =
    [
        Tensors(("x", SafetensorsDtype.F32, [2, 3]), ("y.weight", SafetensorsDtype.BF16, [4])),
        Tensors(("z", SafetensorsDtype.I64, []), ("empty", SafetensorsDtype.U8, [0, 5]), (
            "b", SafetensorsDtype.BOOL, [3])),
    ];

    public static byte[][] Index { get; } = Texts(
        """
        {"metadata": {"total_size": 32}, "weight_map": {"x": "a.safetensors", "y.weight": "a.safetensors",
        "z": "b.safetensors"}}
        """);

    public static byte[][] Config { get; } = Texts(
        """
        {
          "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 4096, "hidden_size": 192,
          "head_dim": 32,
          "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 3,
          "max_position_embeddings": 512, "rms_norm_eps": 1.0e-05, "rope_theta": 10000.0, "hidden_act": "silu",
          "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 256},
          "bos_token_id": null, "eos_token_id": [0, 2], "pad_token_id": -1, "tie_word_embeddings": true,
          "torch_dtype": "bfloat16",
          "attention_bias": false, "mlp_bias": false, "initializer_range": 0.02
        }
        """,
        """
        {"model_type": "qwen2", "vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
         "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
         "use_sliding_window": true, "sliding_window": 8,
         "max_window_layers": 1,
         "layer_types": ["full_attention", "sliding_attention", "full_attention"],
         "rope_parameters": {"rope_theta": 1e6,
         "rope_type": "default"},
         "eos_token_id": 2, "dtype": "float32"}
        """,
        """
        {"model_type": "mistral", "vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": 8,
         "rope_scaling": {"type": "linear", "factor": 2}}
        """,
        """
        {"model_type": "qwen3", "vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "attention_bias": true}
        """);

    public static byte[][] Results { get; } = Texts(
        """
        {"format": "peft.results", "version": 1, "created": "2026-11-22T17:40:00Z", "peft_version": "0.1.0",
         "settings": {"seed": 0, "batch_size": 16, "dtype": "float32", "bootstrap_samples": 10, "confidence": 0.95,
         "correction": "holm"},
         "base": {"name": "b", "fingerprint": "ff"},
         "subjects": [
          {"name": "base", "kind": "base", "path": "b", "method": null, "router": null, "fingerprint": null,
          "trainable_parameters": 0,
           "step_seconds": null, "peak_memory_bytes": null, "evaluation_seconds": 1.5, "recipe": null,
           "training": null},
          {"name": "a", "kind": "adapter", "path": "a", "method": "mixture", "router": "top-k", "fingerprint": "aa",
          "trainable_parameters": 5,
           "step_seconds": 0.1, "peak_memory_bytes": 100, "evaluation_seconds": 1.5, "recipe": {"adapter": {"r": 8,
           "list": [1, {"x": null}]}},
           "training": {"step": [1, 2], "loss": [3.5, 2], "aux": [0, 0], "lr": [0.1, 0], "tokens_per_second": [10, 11],
            "routing_step": [2], "routing_entropy": [1.1], "load_step": [2, 4], "load_change": [0.2, 0.1]}}],
         "tasks": [{"name": "t", "kind": "classification", "data": "d", "rows": 10, "rows_hash": "aa", "truncated": 1,
         "ties": 0, "shots": 0,
          "metrics": [{"name": "accuracy", "higher_is_better": true, "main": true, "unit": "rate"}]}],
         "scores": [{"subject": "a", "task": "t", "metric": "accuracy", "value": 0.5, "low": 0.2, "high": 0.8,
         "rows": 10},
          {"subject": "base", "task": "t", "metric": "accuracy", "value": 0.25, "low": 0, "high": 0.5, "rows": 10}],
         "comparisons": [{"task": "t", "metric": "accuracy", "a": "base", "b": "a", "difference": 0.25, "low": -0.1,
         "high": 0.6, "p": 0.1,
          "p_adjusted": 0.1, "significant": false}],
         "routing": [{"subject": "a", "tasks": ["t", "u"], "modules": [{"name": "model.layers.0.q_proj", "layer": 0,
         "projection": "q_proj",
          "load": [0.5, 0.5], "mean_probability": [0.5, 0.5], "entropy": 0.69, "effective_support_size": 2,
          "experts_per_token": 2, "dead_experts": 0, "task_information": 0.5}],
          "task_distance": [[0, 1], [1, 0]],
          "expert_by_task": {"matrix": [[1, 0], [0, 1]], "mutual_information": 0.69,
          "normalized_mutual_information": 1},
          "similarity": [[1, 0], [0, 1]], "srp": {"segments": [4, 16], "values": [0.8, 0.7], "size_ratios": [1.5, 1.2]},
          "sch": {"segments": [16], "cache_sizes": [1, 2], "values": [[0.5, 1]]}}]}
        """);

    public static byte[][] Report { get; } = Texts(
        "# {{ title }}\n{{ for s in subjects }}{{ for.index }} {{ s.name }}{{ if !for.last }}, {{ end }}{{ end }}\n{{ "
            + "# {{ x }} }}",
        "{{~ if notes.size > 0 ~}}{{ with verdict }}{{ headline }}{{ end }}{{ else if tasks.size > 0 }}{{ for t in "
            + "tasks }}{{ for m in t.metrics }}{{ m.name }}{{ end }}{{ end }}{{ else }}{{ seed }}{{ end }}",
        "{{ inline \"report.css\" }}{{ chart_data }}{{ content_security_policy }}{%{ {{ x }} }%}",
        "{{ x = subjects[0]; x.name | string.upcase }}{{ func f(a, b) }}{{ a + b }}{{ end }}{{ f 1 'x' }}{{ case "
            + "seed; when 0; 'a'; else; 'b'; end }}");

    /// <summary>What templates are rendered with.</summary>
    public static Lazy<ReportModel> Model { get; } = new(() =>
    {
        var path = Path.GetTempFileName();
        File.WriteAllBytes(path, Results[0]);
        var results = ResultsFile.Load(path);
        File.Delete(path);
        return ReportBuilder.Build(results, [], []);
    });

    public static byte[][] Generation { get; } = Texts(
        """
        {"eos_token_id": [1, 2], "bos_token_id": 0, "pad_token_id": 3, "temperature": 0.6, "top_p": 0.95, "top_k": 20,
         "max_new_tokens": 100, "do_sample": true, "transformers_version": "4.57.0"}
        """);

    public static byte[][] Tokenizer { get; } = Texts(
        """
        {"version": "1.0",
         "added_tokens": [
          {"id": 0, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
          "special": true},
          {"id": 1, "content": "<s>", "single_word": true, "lstrip": true, "rstrip": true, "normalized": true,
          "special": true},
          {"id": 12, "content": "<|x|>", "special": false}],
         "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "▁"},
          {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, {"type": "Replace",
          "pattern": {"Regex": "\\s+"}, "content": "▁"},
          {"type": "Strip", "strip_left": false, "strip_right": true}, {"type": "Lowercase"}, {"type": "NFKD"},
          {"type": "StripAccents"}]},
         "pre_tokenizer": null,
         "post_processor": {"type": "TemplateProcessing",
          "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
          "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
          {"Sequence": {"id": "B", "type_id": 1}}],
          "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
         "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
         {"type": "ByteFallback"},
          {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
         "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
         "end_of_word_suffix": null,
          "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
          "vocab": {"<unk>": 0, "<s>": 1, "▁": 2, "h": 3, "e": 4, "l": 5, "o": 6, "he": 7, "ll": 8, "<0x0A>": 9,
          "hell": 10, "▁hell": 11},
          "merges": ["h e", "l l", "he ll", "▁ hell"]}}
        """,
        """
        {"added_tokens": [],
         "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
          {"type": "Split", "pattern": {"Regex": "(?i:'s|'t)|[^\\r\\n\\p{L}]?\\p{L}+|\\p{N}{1,2}|\\s+(?!\\S)|\\s+"},
          "behavior": "Isolated", "invert": false},
          {"type": "Split", "pattern": {"String": "o"}, "behavior": "MergedWithNext", "invert": true},
          {"type": "Digits", "individual_digits": true}, {"type": "Punctuation", "behavior": "Contiguous"},
          {"type": "WhitespaceSplit"},
          {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true},
          {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}]},
         "post_processor": {"type": "RobertaProcessing", "sep": ["b", 1], "cls": ["a", 0], "trim_offsets": true},
         "decoder": {"type": "ByteLevel"},
         "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4}, "merges": [["a", "b"], ["Ġ",
         "ab"]], "ignore_merges": true}}
        """);

    public static byte[][] TokenizerConfig { get; } = Texts(
        """
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": {"content": "<unk>",
        "lstrip": false}, "pad_token": null,
         "model_max_length": 1000000000000000019884624838656}
        """);

    public static byte[] Fragment { get; } = Texts(
        """
        model: {model_name_or_path: nowhere, dtype: bfloat16}
        data:
          max_length: 64
          train: [{files: below.jsonl, template: {text: "{t}"}}]
        """)[0];

    public static byte[][] Recipe { get; } = Texts(
        """
        # every section
        extends: base/frag.yaml
        output_dir: out
        adapter:
          method: mixture
          r: 8
          lora_alpha: 16
          lora_dropout: 0.05
          use_rslora: true
          target_modules: [q_proj, v_proj, down_proj]
          exclude_modules: "model\\.layers\\.0\\..*v_proj"
          layers_to_transform: [0, 1]
          layers_pattern: [layers]
          rank_pattern: {"layers.0.*q_proj": 4, v_proj: 2}
          alpha_pattern:
            q_proj: 3.5
          init_lora_weights: gaussian
          experts: {count: 3, names: [a, b, c], train: true, from: [one, two, three]}
          router: {kind: top-k, top_k: 2, normalize: false, balance: {kind: switch, coefficient: 0.01}}
        data:
          train:
            - name: a
              files: ["a/*.parquet", b.jsonl]
              format: jsonl
              filter: "x > 3"
              columns: {letters: "w | spell"}
              template: {prompt: "say: {letters} =", answer: " {phonemes}"}
              limit: 15000
              weight: 4.5
              task: t
              on_bad_row: skip
            - name: b
              files: c.csv
              task_column: k
              weight: 1
              template: {prompt: "{{ x | string.upcase }} {q}", answer: "{a}"}
          eval:
            - {name: t, files: t.jsonl, template: {prompt: "{q}", answer: "{a}"}}
          packing: false
          shuffle: true
          bucket_window: 4
          memory_budget_mb: 64
        training:
          per_device_train_batch_size: 4
          learning_rate: 1.5e-3
          max_steps: 100
          eval_steps: 10
          lr_scheduler_type: cosine
          warmup_ratio: 0.05
          report_to: [tensorboard]
          load_best_model_at_end: true
          seed: 42
        evaluation:
          tasks:
            - {task: t, metric: accuracy, rows: 20, max_new_tokens: 4}
          base: true
          baselines: [{name: other, results: r.json}]
        """,
        """
        method: full
        model: {from_config: 'new', save_dtype: float32, tokenizer: "tok"}
        data:
          train:
          - files: rows.jsonl
            template:
              text: |
                {question}
                {answer}
        training: {num_train_epochs: 2.5, optim: sgd, momentum: 0.9}
        """);

    public static byte[][] Set { get; } = Texts(
        "training.max_steps=5\nadapter.router={kind: soft}",
        "adapter.target_modules=[q_proj, 'v_proj']\ndata.max_length=7");

    /// <summary>The files that the manifests of <see cref="Bundle"/> list.</summary>
    public static (string Name, byte[] Bytes)[] BundleFiles { get; } =
        [("adapter_config.json", "{}"u8.ToArray()), ("adapter_model.safetensors", Safetensors[0]), (
            "README.md", "# card"u8.ToArray())];

    public static byte[][] Bundle { get; } = [Manifest(Adapters[0], BundleFiles), Manifest(Adapters[1], BundleFiles)];

    /// <summary>The files that the manifest of <see cref="ExportedMixture"/> lists.</summary>
    public static (string Name, byte[] Bytes)[] ExportedFiles { get; } =
    [
        ("expert_0/adapter_config.json", "{}"u8.ToArray()), ("expert_0/adapter_model.safetensors", Safetensors[0]),
        ("expert_0/README.md", "# card"u8.ToArray()), ("router.safetensors", Safetensors[1]), (
            "README.md", "# card"u8.ToArray()),
        ("recipe.resolved.yaml", "seed: 1\n"u8.ToArray()),
    ];

    public static byte[][] ExportedMixture { get; } = [Manifest(Adapters[1], ExportedFiles)];

    public static byte[][] Adapter { get; } = Texts(
        """
        {
          "alpha_pattern": {"q_proj": 4}, "auto_mapping": null, "base_model_name_or_path": "org/base", "bias": "none",
          "fan_in_fan_out": false,
          "inference_mode": true, "init_lora_weights": true, "layers_pattern": "layers", "layers_to_transform": [0, 1],
          "lora_alpha": 16,
          "lora_dropout": 0.05, "modules_to_save": null, "peft_type": "LORA", "r": 8,
          "rank_pattern": {"model.layers.0.*": 4, "^x$": 2},
          "revision": null, "target_modules": ["q_proj", "v_proj"], "exclude_modules": ["lm_head"],
          "task_type": "CAUSAL_LM",
          "use_dora": false, "use_rslora": true, "loftq_config": {}, "corda_config": null
        }
        """,
        """
        {"peft_type": "LORA", "target_modules": ".*\\.(q|v)_proj", "exclude_modules": "(?P<a>lm)_head",
        "lora_alpha": 0.5}
        """);

    public static byte[][] Template { get; } = Texts(
        "say: {letters} = {{ x | string.upcase }} {a b} {\"j\": 1}", "{q}", "no column at all",
        "{{ if a == 'x' && n > 3 }}{{ for w in l limit: 2 }}{{ w.t ?? 'none' }}{{ end }}{{ else }}{{ n + 1.5 }}{{ end "
            + "}}",
        "{{ func f(x); ret x * 2; end; capture c }}{{ f n }}{{ end; c | extract `(\\d+)` | spell | left 4 }}{{ (a | "
            + "split_hash 100) < 95 }}");

    public static byte[][] JsonLines { get; } = Texts(
        "{\"a\": \"x\", \"n\": 1.10, \"l\": [{\"t\": null}, true]}\n\n{\"n\": -3e5, \"a\": "
            + "\"\\u00e4\\ud83d\\ude42\"}\r\n");

    public static byte[][] Conversations { get; } = Texts(
        """{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U \ud83d\ude42"}, """
            + """{"role": "assistant", "content": "A"}, {"role": "user", "content": """
            + """[{"type": "text", "text": "x"}]}, """
            + "{\"role\": \"assistant\", \"content\": \"B\"}]}\n"
            + """{"messages": [{"role": "user", "content": "W?"}, {"role": "assistant", "content": null, """
            + """ "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": {"n": 1.0, """
            + """ "l": [null]}}}]}, {"role": "tool", "content": "5"}, {"role": "assistant", "content": "y"}], """
            + """ "tools": [{"type": "function", "function": {"name": "f"}}], """
            + "\"chat_template_kwargs\": {\"enable_thinking\": false}}\n",
        """{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}, """
            + """{"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {}}"}, """
            + """{"from": "observation", "value": "2"}, {"from": "gpt", "value": "3"}], "system": "S"}""",
        """
        {"instruction": "Name it.", "input": "France", "output": "Paris", "system": null, "tools": "[]"}
        """);

    public static byte[][] ChatTemplates { get; } = Texts(
        "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}{{ m.content | trim }}{% else %}"
            + "{% for p in m.content or [] %}{{ p.text }}{% endfor %}{% endif %}"
            + "{{ m.tool_calls | tojson if m.tool_calls }}{{ eos_token }}{% endfor %}"
            + "{% if add_generation_prompt %}<assistant>{% endif %}",
        "{%- set ns = namespace(n=0, last=none) -%}{% macro say(m, end='!') %}{{ m.role ~ ':' ~ m['content'] }}"
            + "{{ end }}{% endmacro %}{# x #}{% for m in messages[::-1] if m.role != 'tool' %}"
            + "{% set ns.n = ns.n + loop.index0 %}"
            + "{%- if loop.first and not m.content %}{% continue %}{% elif ns.n > 3 %}{% break %}{% endif %}"
            + "{% generation %}{{ say(m, end='\\n') }}{% endgeneration %}{% else %}none{% endfor %}",
        "{{ bos_token }}{% set x %}{{ messages | length }}{% endset %}{% for k, v in messages[0].items() | list %}"
            + "{{ k.upper() | indent(2) }}={{ v | string | replace('U', 'V') | default('d', true) }}{% endfor %}"
            + "{{ (messages | map(attribute='role') | unique | join(', ')).split(',')[-1].strip() }}"
            + "{{ {'a': (1, 2.5), 'b': [true, none]} | tojson(indent=2) }}{{ 7 // 2 % 3 ** 2 }}"
            + "{{ strftime_now('%d %B %Y') }}{{ raise_exception('no') "
            + "if messages | selectattr('role', 'equalto', 'x') | list }}");

    public static byte[][] Json { get; } = Texts(
        "[{\"a\": \"x\", \"n\": 1},\n {\"o\": {\"b\": [1, 2]}, \"n\": 2, \"a\": true}]",
            "{\"a\": 1, \"n\": 2}\n{\"a\": \"y\", \"n\": 3}");

    public static byte[][] Csv { get; } = Texts(
        "a,n\nx,1\n\"y, \"\"z\"\"\",2\r\n\"two\nlines\",\n", "\uFEFFn,a\n1,x\n");

    public static byte[][] Tsv { get; } = Texts("a\tn\n\"x\t1\ny\"\t2\n");

    public static byte[][] Parquet { get; } = [WriteParquet().GetAwaiter().GetResult()];

    private static async Task<byte[]> WriteParquet()
    {
        var (text, number) = (
            new global::Parquet.Schema.DataField<string>("a"), new global::Parquet.Schema.DataField<long>("n"));
        using var stream = new MemoryStream();
        await using (
            var writer = await global::Parquet.ParquetWriter.CreateAsync(
                new global::Parquet.Schema.ParquetSchema(text, number), stream))
        {
            using var group = writer.CreateRowGroup();
            await group.WriteAsync(text, (IReadOnlyCollection<string>)["x", "yy", "x"]);
            await group.WriteAsync<long>(number, new long[] { 1, 2, 3 });
            group.CompleteValidate();
        }

        return stream.ToArray();
    }

    public static byte[][] Trainer { get; } = [WithFile(folder => TrainerStateFile.Write(folder, new TrainerStateFile(
        new TrainingState(
            20, new BatchStreamState(42, 4, 8, 0, 120, new string('a', 64), 1, 2, 3, [5, 6]), 10, 0.5, 1, false),
        100,
        "model:\n  dtype: auto\n")), TrainerStateFile.Name)];

    public static byte[][] Evaluation { get; } = Texts(
        """
        {"format_version": 1, "model": "a \"model\"", "trainable_parameters": 1234, "tasks": [
          {"task": "t", "metric": "accuracy", "higher_is_better": true, "value": 0.75, "rows": 20},
          {"task": "u", "metric": "loss", "higher_is_better": false, "value": 1.5, "rows": 3}]}
        """);

    public static byte[][] Task { get; } = Texts(
        """
        kind: multiple_choice
        data:
          files: a.parquet
          columns: {x: "q | left 3"}
          filter: q > 1 && q != null
          template: {prompt: "{x}", answer: "{l}"}
        labels: [a, 1]
        choices: [" {x}", " {{ y ?? 1 }}"]
        contexts: ["{x}", ""]
        metrics: [acc, acc_norm]
        shots: {count: 2, files: [b.parquet], seed: 3, separator: "\n"}
        rows: 5
        """,
        """
        kind: generation
        data: {files: a.parquet, template: {prompt: "{x}", answer: "{l}"}}
        stop: ["\n", x]
        normalize: squad
        max_new_tokens: 3
        metrics: token_f1
        """,
        """
        kind: classification
        data: {files: a.parquet, template: {prompt: "{x}", answer: "{l}"}}
        labels: [0, 1.5]
        metrics: [pearson]
        """);

    private static string[] Adapters =>
    [
        "{r: 4}",
        """
        {method: mixture, r: 2, target_modules: ["q_proj"], rank_pattern: {q_proj: 3}, experts: {count: 3},
         router: {kind: hard-soft}}
        """,
    ];

    private static byte[] Manifest(string adapter, (string Name, byte[] Bytes)[] files)
    {
        var reader = new OptionReader(
            Recipes.Reading.YamlReader.Parse($"adapter: {adapter.ReplaceLineEndings(" ")}", "seed"), "", new Faults());
        var options = AdapterOptions.Read(reader.Section("adapter"));
        reader.Faults.ThrowIfAny("seed");
        return Encoding.UTF8.GetBytes(new BundleManifest
        {
            Adapter = options,
            Base = new BaseIdentity("data/base", new string('c', 64)),
            Data = [new DataIdentity("rows.jsonl", new string('d', 64))],
            Seed = 42,
            Versions = [new("peft", "0.1.0")],
            TrainableParameters = 1000,
            Files = [.. files.Select(file => KeyValuePair.Create(file.Name, Sha256.OfBytes(file.Bytes)))],
        }.ToJson());
    }

    private static byte[] Tensors(params (string Name, SafetensorsDtype Dtype, long[] Shape)[] tensors)
    {
        using var stream = new MemoryStream();
        SafetensorsWriter.Write(
            stream,
            [.. tensors.Select(tensor => new SafetensorsWrite(tensor.Name, tensor.Dtype, tensor.Shape, to =>
                to.Write(
                    new byte[tensor.Shape.Aggregate((long)tensor.Dtype.ByteSize(), (bytes, size) => bytes * size)])))],
            new Dictionary<string, string> { ["format"] = "pt" });
        return stream.ToArray();
    }

    private static byte[] WithFile(Action<string> write, string name)
    {
        var folder = Directory.CreateTempSubdirectory("peft-seed-").FullName;
        try
        {
            write(folder);
            return File.ReadAllBytes(Path.Combine(folder, name));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static byte[][] Texts(params string[] texts) => [.. texts.Select(Encoding.UTF8.GetBytes)];
}
