using System.Text.Json.Nodes;
using Peft.Cli.Tests.Support;
using Peft.Formats.Safetensors;

namespace Peft.Cli.Tests;

/// <summary>Two adapters trained apart, one of them with a gate, shared by the tests that merge them.</summary>
public sealed class TrainedApart : IDisposable
{
    public TrainedApart()
    {
        Folder.Write("law.yaml", Recipe("{r: 2, lora_alpha: 6}"));
        Folder.Write("code.yaml", Recipe("{r: 3, target_modules: [q_proj, up_proj]}"));
        foreach (var name in new[] { "law", "code" })
        {
            PeftProcess.Run(Folder, "train", $"{name}.yaml", "--output", name, "--set",
                $"training.seed={name.Length}").Succeeds();
            Gates.Add(PeftProcess.Run(Folder, "gate", "--adapter", name, "--set", "training.max_steps=3",
                "--describe", $"rows of {name}"));
        }
    }

    internal TempFolder Folder { get; } = new();

    internal List<ProgramRun> Gates { get; } = [];

    public void Dispose() => Folder.Dispose();

    private static string Recipe(string adapter) =>
        TinyBase.RecipeWithHeldRows(adapter,
            "{per_device_train_batch_size: 4, max_steps: 3, learning_rate: 0.05, save_steps: 0, report_to: none}",
            "evaluation: {tasks: [{task: held, rows: 4, max_new_tokens: 3}]}");
}

public sealed class MergeTests(TrainedApart apart) : IClassFixture<TrainedApart>, IDisposable
{
    private readonly TempFolder _folder = new();

    [Fact]
    public void A_gate_is_stored_in_the_bundle_which_stays_valid()
    {
        Assert.All(apart.Gates, run => run.Succeeds().Says("gate saved as gate.safetensors after 3 steps",
            ": description saved in gate.safetensors"));
        var vectors = SafetensorsFile.Open(apart.Folder["code/gate.safetensors"]).Entries;
        Assert.Equal((2 * 2 * 2) + 1, vectors.Count);
        Assert.Equal([32L], vectors["task"].Shape);
        Assert.Equal([32L], vectors["base_model.model.model.layers.0.self_attn.q_proj.gate"].Shape);
        Assert.Contains("base_model.model.model.layers.1.mlp.up_proj.mean_input", vectors.Keys);
        Peft("adapter", "verify", "code").Succeeds();
        Assert.Contains("gate.safetensors", File.ReadAllText(apart.Folder["code/bundle.json"]),
            StringComparison.Ordinal);
        Assert.DoesNotContain("checkpoint", apart.Folder.Snapshot("code"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_task_is_described_beside_a_gate_that_stays()
    {
        var before = File.ReadAllText(apart.Folder["law/bundle.json"]);
        Peft("gate", "--adapter", "law", "--keep", "--describe", "rows of law").Succeeds().Says(
            "law: description saved in gate.safetensors");
        Assert.Equal(before, File.ReadAllText(apart.Folder["law/bundle.json"]));

        Peft("gate", "--adapter", "law", "--keep").IsRefused(
            "--keep: no --describe and no --vector beside it; expected what is to be stored.");
        Peft("gate", "--adapter", "law", "--keep", "--describe", "").IsRefused(
            "--describe: no words; expected what the adapter was trained for.");
        _folder.Write("v.json", "[1, 1e999]");
        Peft("gate", "--adapter", "law", "--keep", "--vector", _folder["v.json"]).IsRefused(
            "v.json holds 2 numbers, not all of them finite; expected at least one, all finite.");
        Peft("gate", "--adapter", "law", "--keep", "--vector", _folder["v.json"], "--set", "training.seed=1").IsRefused(
            "--keep: 'training.seed=1' has no effect beside it and --vector: nothing is computed. Remove it.");
        _folder.Write("v.json", "{}");
        Peft("merge", "--method", "glider", "law", "code", "--query", _folder["v.json"], "--output", _folder["m"])
            .IsRefused("v.json: cannot be read (", "expected a JSON array of numbers.");
        Peft("merge", "--method", "phatgoose", "law", "code", "--alpha", "2", "--output", _folder["m"]).IsRefused(
            "--alpha", "no effect with --method phatgoose. Remove it, or use glider.");
        Assert.Equal(before, File.ReadAllText(apart.Folder["law/bundle.json"]));
    }

    [Fact]
    public void Routed_and_static_merges_load_like_every_bundle()
    {
        foreach (var method in new[] {
            "phatgoose", "arrow", "average-activation", "spectr", "glider", "ties", "core-iso-cts", "knots-ties" })
        {
            var output = _folder[method];
            var report = JsonNode.Parse(
                Peft("merge", "--method", method, "law", "code", "--output", output, "--json").Succeeds().Output)!;
            Assert.Equal(method, (string?)report["method"]);
            Assert.Equal(["law", "code"], report["adapters"]!.AsArray().Select(name => (string?)name));
            if (report["similarity"] is null)
                Assert.InRange((double)report["total"]!["relative_error"]!, 0.001, 2);
            else
                Assert.InRange((double)report["similarity"]![0]!["updates"]!, -1, 1);
            Peft("adapter", "verify", output).Succeeds();
            Peft("logits", "--adapter", output, "--ids", "5,6,7", "--dtype", "float32", "--output",
                _folder["logits.json"]).Succeeds();
            Peft("generate", "--adapter", output, "--prompt", "the cat", "--max-new-tokens", "3").Succeeds();
        }
        Peft("merge", "--method", "cat", "law", "code", "--output",
            _folder["ties"]).IsRefused("ties: already exists. Replace it with --overwrite");
        Peft("merge", "--method", "cat", "law", "code", "--output", _folder["ties"], "--overwrite").Succeeds();
        Assert.Equal("cat",
            (string?)JsonNode.Parse(File.ReadAllText(_folder["ties/bundle.json"]))!["merge"]!["method"]);
    }

    [Fact]
    public void A_static_merge_prints_what_it_lost_and_a_routed_one_how_alike_the_experts_are()
    {
        var text = Peft("merge", "--method", "svd", "law", "code", "--rank", "1", "--output",
            _folder["svd"]).Succeeds().Output;
        Assert.Matches(@"module +rank +relative error +energy kept", text);
        Assert.Matches(@"model\.layers\.0\.mlp\.up_proj +1 +0\.\d{6} +0\.\d{4}", text);
        Assert.Matches(@"all +1 +0\.\d{6} +0\.\d{4}", text);
        var routed = Peft("merge", "--method", "phatgoose", "law", "two=code", "--output",
            _folder["routed"]).Succeeds().Output;
        Assert.Matches(@"updates \\ routing vectors +law +two", routed);
    }

    [Fact]
    public void All_methods_are_measured_on_the_tasks_of_a_recipe()
    {
        var run = Peft("merge", "--method", "all", "law", "code", "--recipe", "law.yaml", "--output",
            _folder["all"]).Succeeds();
        run.Says("linear: skipped. ", "robustmerge: skipped. ", "lorahub: skipped. ", "r = 2", "r = 3",
            "lorahub-updates: trying 40 weights on 5 training rows");
        foreach (
            var row in new[] { "base", "law alone", "code alone", "best expert of each task", "phatgoose", "average",
            "magnitude-prune", "spectr", "glider", "core-ties", "core-tsv", "core-iso-c", "core-iso-cts", "knots-ties",
            "lorahub-updates" })
            Assert.Matches($@"\n{row} +\d", run.Output);
        Assert.True(File.Exists(_folder["all/phatgoose/results.json"]));
        Assert.False(Directory.Exists(_folder["all/linear"]));
    }

    [Fact]
    public void Weights_are_searched_on_the_training_rows_of_a_recipe()
    {
        string[] words = ["merge", "--method", "lorahub-updates", "law", "code", "--recipe", "law.yaml", "--steps",
            "12", "--examples", "4", "--seed", "3"];
        Peft([.. words, "--output", _folder["one"]]).Succeeds().Says("trying 12 weights on 4 training rows",
            "weights law ", "code ", " without adapters");
        Peft([.. words, "--output", _folder["two"]]).Succeeds();

        Assert.Equal(File.ReadAllText(_folder["one/bundle.json"]), File.ReadAllText(_folder["two/bundle.json"]));
        var merge = JsonNode.Parse(File.ReadAllText(_folder["one/bundle.json"]))!["merge"]!;
        Assert.All(merge["adapters"]!.AsArray(), adapter => Assert.InRange((double)adapter!["weight"]!, -1.5, 1.5));
        Assert.Contains("\"steps\":\"12\"", merge.ToJsonString().Replace(" ", "", StringComparison.Ordinal),
            StringComparison.Ordinal);
        Refused(["--method", "lorahub-updates", "law", "code"],
            "peft merge --method lorahub-updates: no examples to search weights on");
        Refused(["--method", "lorahub", "law", "code", "--recipe", "law.yaml"], "law r = 2, code r = 3",
            "Use --method lorahub-updates.");
        Refused(["--method", "lorahub-updates", "law", "code", "--weights", "1,1", "--steps", "3"],
            "--steps", "no effect with --method lorahub-updates");
    }

    [Fact]
    public void An_adapter_is_added_or_removed_later()
    {
        Peft("merge", "--method", "phatgoose", "law", "code", "--output", _folder["two"]).Succeeds();
        Peft("merge", "--method", "phatgoose", _folder["two"], "again=law", "--output", _folder["three"]).Succeeds();
        Peft("merge", "--method", "phatgoose", _folder["three"], "--remove", "again", "--output",
            _folder["back"]).Succeeds();

        Assert.Equal(File.ReadAllBytes(_folder["two/adapter_model.safetensors"]),
            File.ReadAllBytes(_folder["back/adapter_model.safetensors"]));
        Refused([_folder["three"], "--remove", "nobody"],
            "--remove: 'nobody' is not among the adapters; expected law, code or again.");
        Refused([_folder["three"], "--remove", "agian,cod"],
            "--remove: 'agian' and 'cod' are not among the adapters; expected law, code or again. Did you mean again"
            + " and code?");
        Refused([_folder["two"], "--remove", "law"], "peft merge: only code; expected at least two adapters.");
    }

    [Fact]
    public void Adapters_trained_apart_become_the_frozen_experts_of_lora_mixer()
    {
        _folder.Write("mix.yaml", TinyBase.Recipe(
            "{method: mixture, r: 3, experts: {names: [law, code], from: [law, code], train: false}, router: {kind: "
            + "hard-soft, stage: soft, top_k: 1}}",
            "{per_device_train_batch_size: 4, max_steps: 2, report_to: none}"));
        Peft("train", _folder["mix.yaml"], "--output", _folder["mix"]).Succeeds();

        const string Module = "base_model.model.model.layers.0.self_attn.q_proj.lora_A";
        var mixed = SafetensorsFile.Open(_folder["mix/adapter_model.safetensors"]);
        var law = SafetensorsFile.Open(apart.Folder["law/adapter_model.safetensors"]).ReadBytes(Module + ".weight");
        var code = SafetensorsFile.Open(apart.Folder["code/adapter_model.safetensors"]).ReadBytes(Module + ".weight");
        // Law has rank 2 of 3: its third row is zero.
        Assert.Equal([.. law, .. new byte[32 * 4], .. code], mixed.ReadBytes(Module + ".experts"));
        Peft("generate", "--adapter", _folder["mix"], "--prompt", "the cat", "--max-new-tokens", "2").Succeeds();
    }

    [Fact]
    public void What_does_not_fit_together_is_told()
    {
        Refused(["law"], "peft merge: only law; expected at least two adapters.");
        Refused(["law", "law"], "'law' names ", "Write NAME=DIR for one of them.");
        Refused(["--method", "cat", "law", "code", "--weights", "1"],
            "--weights: 1 number; expected one for each of law and code.");
        Refused(["--method", "ties", "law", "code", "--weights", "1,x", "--density", "0"],
            "peft merge has 2 faults", "--density",
            "--weights", "'x'");
        Refused(["law", "nowhere"], "nowhere", "no such directory");
        Refused(["--method", "tie", "law", "code"], "--method: 'tie' is not a method; expected ", "Did you mean ties?");
        Refused(["--method", "linear", "law", "code"], "law r = 2, code r = 3", "equal ranks");
        Refused(["--method", "robustmerge", "law", "code"], "law r = 2, code r = 3", "equal ranks");
        Refused(["--method", "spectr", "law", "code", "--temperature", "2"],
            "--temperature",
            "no effect with --method spectr. Remove it, or use phatgoose, arrow, average-activation or glider.");
        Refused(["--method", "core-iso-cts", "law", "code", "--common", "2", "--score", "best"],
            "--common", "a number from 0 to 1", "--score", "'best'; expected update or directions");
        Refused(["law", "code", "--beside", "law"],
            "--beside: has no effect without --recipe. Add --recipe FILE, whose tasks are measured.");
        Refused(["law", "code", "--recipe", "law.yaml", "--beside", "nowhere"], "nowhere", "no such directory");
        Refused(["law", "code", "--device", "cuda:0"], "--device", "no effect without --recipe");
    }

    [Fact]
    public void Damaged_and_strange_adapters_are_told_and_nothing_is_written()
    {
        Copied("code", "bundle.json",
            text => text.Replace("\"adapter_config.json\":", "\"../law.yaml\":", StringComparison.Ordinal), "escape");
        Refused(["law", _folder["escape"]], "'../law.yaml'",
            "a path; expected the name of a file in the bundle's own directory.");

        Copied("code", "bundle.json",
            text => text.Replace("\"fingerprint\": \"", "\"fingerprint\": \"other", StringComparison.Ordinal),
            "stranger");
        Refused(["law", _folder["stranger"]], "law was trained on", "stranger on", "(fingerprint other",
            "expected adapters of one base");

        // Without their manifest they are directories of PEFT, whose tensors no hash vouches for.
        Bare("cut", bytes => bytes[..^40]);
        Refused(["law", _folder["cut"]], "cut/adapter_model.safetensors", "The file is truncated");
        Bare("nan", bytes => { BitConverter.GetBytes(float.NaN).CopyTo(bytes, bytes.Length - 4); return bytes; });
        Refused(["--method", "cat", "law", _folder["nan"]], "nan/adapter_model.safetensors has 1 fault",
            "NaN or infinity");
        Bare("wide", bytes => bytes);
        var wide = SafetensorsFile.Open(_folder["wide/adapter_model.safetensors"]);
        SafetensorsWriter.WriteFile(wide.Path, [.. wide.Entries.Values.Select(entry => new SafetensorsWrite(
            entry.Name, entry.Dtype, [2 * entry.Shape[0], 2 * entry.Shape[1]], stream =>
                stream.Write(new byte[4 * entry.ByteCount])))]);
        Refused(["law", _folder["wide"]], "64 to ", "in wide", "32 to ", "as in law",
            "They belong to different models.");
    }

    [Fact]
    public void A_gate_needs_data_and_one_plain_lora()
    {
        Bare("bare", bytes => bytes);
        Peft("gate", "--adapter", _folder["bare"]).IsRefused("holds no recipe.resolved.yaml", "--recipe FILE");
        Refused(["law", _folder["bare"]], "bare", "no gate", "peft gate --adapter");
        Peft("gate", "--adapter", _folder["bare"], "--recipe", "code.yaml", "--set", "training.max_steps=1").Succeeds();
        Peft("merge", "--method", "phatgoose", "law", _folder["bare"], "--output",
            _folder["out"]).Succeeds().Says("bare: has no fingerprint of its base");
        Peft("gate", "--adapter", _folder["out"], "--recipe",
            "code.yaml").IsRefused("a mixture with router phatgoose", "one plain LoRA");
        Copied("code", "bundle.json",
            text => text.Replace("\"fingerprint\": \"", "\"fingerprint\": \"other", StringComparison.Ordinal),
            "stranger");
        Peft("gate", "--adapter", _folder["stranger"]).IsRefused("was trained on", "fingerprint other", "--base DIR");
    }

    public void Dispose() => _folder.Dispose();

    private ProgramRun Peft(params string[] words) => PeftProcess.Run(apart.Folder, words);

    private void Refused(string[] words, params string[] parts)
    {
        Peft(["merge", .. words.Contains("--method") ? words : ["--method", "phatgoose", .. words], "--output",
            _folder["no"]]).IsRefused(parts);
        Assert.False(Directory.Exists(_folder["no"]));
    }

    private void Copied(string adapter, string file, Func<string, string> change, string name)
    {
        _folder.Copy(apart.Folder[adapter], name);
        _folder.Write($"{name}/{file}", change(File.ReadAllText(_folder[$"{name}/{file}"])));
    }

    private void Bare(string name, Func<byte[], byte[]> change)
    {
        _folder.Copy(apart.Folder["code"], name);
        foreach (var ours in new[] { "bundle.json", "gate.safetensors", "recipe.resolved.yaml", "README.md" })
            File.Delete(_folder[$"{name}/{ours}"]);
        var weights = _folder[$"{name}/adapter_model.safetensors"];
        File.WriteAllBytes(weights, change(File.ReadAllBytes(weights)));
    }
}
