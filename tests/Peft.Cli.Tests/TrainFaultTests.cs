using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>Mistakes of the user's: one clear message, exit code 2, nothing written.</summary>
public sealed class TrainFaultTests : IDisposable
{
    private const string NoLibrary = "text.so";

    private readonly TempFolder _folder = new();

    public TrainFaultTests()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2}"));
        _folder.Write("one.yaml", "");
    }

    [Fact]
    public void All_faults_of_a_recipe_are_told_at_once()
    {
        _folder.Write("bad.yaml",
            TinyBase.Recipe("{r: 0, lora_alhpa: 3, experts: {count: 2}}",
            "{max_steps: many, lr_scheduler_type: cosin}", "evaluate: 1"));
        var run = Refused(
            ["bad.yaml"],
            "bad.yaml has 6 faults", "adapter.r", "whole number from 1", "Did you mean lora_alpha?",
            "adapter.experts.count", "method: mixture",
            "training.max_steps", "Did you mean cosine?", "Did you mean evaluation?");
        Assert.Equal(7, run.Error.TrimEnd().Split('\n').Length);
        Assert.Contains("line 3", run.Error);
    }

    [Theory]
    [InlineData("nowhere.yaml", "", "nowhere.yaml: no such file. Check the path: it was looked for in ")]
    [InlineData("r.yaml", "training.max_steps", "expected a.b=value")]
    [InlineData("r.yaml", "training.max_stesp=3",
        "the command line has 1 fault:\n  --set training.max_stesp=3  unknown key. Did you mean max_steps?\n")]
    [InlineData("r.yaml", "training={max_stesp: 3}",
        "the command line has 1 fault:\n  --set training={max_stesp: 3}  training.max_stesp  unknown key. Did you mean "
        + "max_steps?\n")]
    [InlineData("r.yaml", "model.model_name_or_path=data/base",
        "'data/base'; expected an existing directory in Hugging Face layout. Looked in ", ". Did you mean /")]
    [InlineData("r.yaml",
        "adapter={method: mixture, r: 2, experts: {count: 2, from: nowhere/r2}, router: {kind: top-k}}",
        "adapter.experts.from  'nowhere/r2'; expected an existing directory of an adapter. Looked in ")]
    [InlineData("r.yaml",
        "adapter={method: mixture, r: 2, experts: {count: 2, from: adapters/one}, router: {kind: top-k}}",
        "adapter.experts.from  'adapters/one'; expected an existing directory of an adapter. Train it first: peft "
        + "train one.yaml.\n")]
    [InlineData("r.yaml", "model.model_name_or_path.x=3", "'model_name_or_path' is not a section")]
    public void A_recipe_or_override_that_cannot_be_read_is_named(string recipe, string set, params string[] parts) =>
        Refused(set.Length == 0 ? [recipe] : [recipe, "--set", set], parts);

    [Fact]
    public void Text_that_is_not_yaml_is_named_with_its_line()
    {
        _folder.Write("broken.yaml", "model:\n  a: [1, 2\nb: }\n");
        Refused(["broken.yaml"], "broken.yaml:2: not valid YAML");
    }

    [Fact]
    public void A_missing_data_file_is_named() => Refused(
        ["r.yaml", "--set",
            "data.train=[{files: nowhere.jsonl, template: {prompt: \"{question}\", answer: \"{answer}\"}}]"],
        "data.train[0].files", "nowhere.jsonl does not exist");

    [Fact]
    public void A_column_that_the_file_lacks_is_named_with_the_nearest_one()
    {
        var set =
            $"data.train=[{{files: {TinyBase.RowsFile}, template: {{prompt: \"{{qestion}}\", answer: "
            + $"\"{{answer}}\"}}}}]";
        RefusedBeforeTheModel(set, "data.train[0].template.prompt", "no column 'qestion' in", "question, answer",
            "Did you mean question?");
    }

    [Fact]
    public void A_row_that_is_not_json_is_named_with_its_line()
    {
        _folder.Write("cut.jsonl", "{\"question\": \"a\", \"answer\": \"b\"}\n{\"question\": \"a\", \"ans");
        var set = "data.train=[{files: cut.jsonl, template: {prompt: \"{question}\", answer: \"{answer}\"}}]";
        RefusedBeforeTheModel(set, "cut.jsonl", "2");
    }

    [Fact]
    public void Cut_weights_are_refused()
    {
        CopyBase("cut");
        using (var weights = File.OpenWrite(_folder["cut/model.safetensors"]))
            weights.SetLength(weights.Length - 100);
        Refused(["r.yaml", "--set", "model.model_name_or_path=cut"], "cut/model.safetensors");
    }

    [Fact]
    public void Missing_keys_of_a_config_are_named()
    {
        CopyBase("nokey");
        Edit("nokey/config.json", "\"hidden_size\"", "\"hiden_size\"");
        Edit("nokey/config.json", "\"num_hidden_layers\"", "\"layers\"");
        RefusedBeforeTheModel("model.model_name_or_path=nokey", "nokey/config.json has 2 faults", "hidden_size",
            "num_hidden_layers", "missing");
    }

    [Fact]
    public void An_unknown_model_type_is_named_with_the_supported_ones()
    {
        CopyBase("other");
        Edit("other/config.json", "\"llama\"", "\"lama\"");
        RefusedBeforeTheModel("model.model_name_or_path=other", "other/config.json", "'lama'", "qwen2",
            "Did you mean 'llama'?");
    }

    [Fact]
    public void A_tokenizer_of_another_kind_is_refused_with_those_that_are_read()
    {
        CopyBase("words");
        Edit("words/tokenizer.json", "\"BPE\"", "\"WordLevel\"");
        RefusedBeforeTheModel("model.model_name_or_path=words", "words/tokenizer.json", "WordLevel", "BPE", "Unigram");
    }

    [Fact]
    public void A_recipe_that_the_model_cannot_hold_is_refused_by_train_and_by_data()
    {
        string[] parts = ["r.yaml has 1 fault", "data.max_length", "max_position_embeddings 64"];
        Refused(["r.yaml", "--set", "data.max_length=65"], parts);
        RefusedBeforeTheModel("data.max_length=65", parts);
    }

    [Fact]
    public void A_token_beyond_the_model_is_refused_where_a_row_uses_it_by_train_and_by_data()
    {
        CopyBase("more");
        Edit("more/tokenizer.json", "\"added_tokens\": [", """
            "added_tokens": [
              {"id": 300, "content": "<new>", "special": true, "single_word": false, "lstrip": false, "rstrip": false},
            """);
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2}")
            .Replace(TinyBase.Model, "more", StringComparison.Ordinal)
            .Replace(TinyBase.RowsFile, "rows.jsonl", StringComparison.Ordinal));
        _folder.Write("rows.jsonl", """{"question": "the cat", "answer": " sat"}""" + "\n");
        PeftProcess.Run(_folder, "data", "r.yaml").Succeeds();
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "used").Succeeds();

        _folder.Write("rows.jsonl", """{"question": "the cat", "answer": " sat<new>"}""" + "\n");
        const string Message = "row 1: a token with id 300; expected ids below the model's vocab_size 288. "
            + "Use the tokenizer of the base model.";
        Refused(["r.yaml"], Message);
        PeftProcess.Run(_folder, "data", "r.yaml").IsRefused(Message);
    }

    [Theory]
    [InlineData("LIBTORCH", "/nonexistent", "LIBTORCH", "'/nonexistent'", "libtorch 2.10", "unset it")]
    [InlineData("LIBTORCH", NoLibrary, "LIBTORCH", "is not a folder")]
    [InlineData("LIBTORCH", "/", "/libtorch_cpu.so: missing. Correct LIBTORCH, or unset it")]
    public void A_missing_or_wrong_native_library_is_the_users_mistake(string variable, string library,
        params string[] parts)
    {
        _folder.Write(NoLibrary, "text");
        var before = _folder.Snapshot();
        PeftProcess.Run(_folder, Surroundings.With(variable, library), "train", "r.yaml", "--output",
            "out").IsRefused(parts);
        Assert.Equal(before, _folder.Snapshot());
        Assert.False(Directory.Exists(_folder["out"]));
    }

    [Fact]
    public void An_output_below_a_file_is_refused()
    {
        _folder.Write("file", "mine");
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "file/out").IsRefused("file/out: cannot be written",
            "--output");
        Assert.Equal("mine", File.ReadAllText(_folder["file"]));
    }

    public void Dispose() => _folder.Dispose();

    private void CopyBase(string name) => _folder.Copy(TinyBase.Model, name);

    private void Edit(string file, string what, string by)
    {
        var text = File.ReadAllText(_folder[file]);
        Assert.Contains(what, text);
        File.WriteAllText(_folder[file], text.Replace(what, by, StringComparison.Ordinal));
    }

    private ProgramRun Refused(string[] words, params string[] parts)
    {
        var before = _folder.Snapshot();
        var run = PeftProcess.Run(_folder, ["train", .. words, "--output", "out"]).IsRefused(parts);
        Assert.Equal(before, _folder.Snapshot());
        Assert.False(Directory.Exists(_folder["out"]), "out was made");
        return run;
    }

    // `data` makes the checks that training makes before it loads a model, and takes half as long.
    private void RefusedBeforeTheModel(string set, params string[] parts) =>
        PeftProcess.Run(_folder, "data", "r.yaml", "--set", set).IsRefused(parts);
}
