using System.Text.Json.Nodes;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Models;
using Peft.Models.Loading;
using Peft.Training;
using Peft.Training.Metrics;

namespace Peft.Recipes;

/// <summary>
/// Trains a gate on one frozen adapter, so that it can be one of several later, and measures its mean inputs.
/// </summary>
/// <remarks>
/// Source: PHATGOOSE, arXiv:2402.05859, section 3: base and LoRA frozen, one vector a module behind a sigmoid, 100
/// steps on the
/// adapter's own data with its own learning rate. The one training loop runs it: a mixture of one frozen expert with
/// router gate.
/// </remarks>
public static class GateTraining
{
    /// <summary>Steps unless <c>--set training.max_steps</c> says otherwise.</summary>
    public const int Steps = 100;

    /// <summary>
    /// The recipe of a gate's training: the adapter's own, or another's data, with the adapter frozen.
    /// </summary>
    /// <param name="adapter">The adapter's directory.</param>
    /// <param name="recipe">Another recipe; null: the one that the bundle holds.</param>
    /// <param name="baseDirectory">The base; null: the recipe's.</param>
    /// <param name="overrides">Further <c>--set</c>s, which win.</param>
    /// <exception cref="UserException">It is no plain LoRA, or there is no recipe.</exception>
    public static Recipe RecipeOf(string adapter, string? recipe, string? baseDirectory, IEnumerable<string> overrides)
    {
        var options = OptionsOf(adapter);
        var path = recipe ?? BundleFiles.PathOf(adapter, BundleFiles.Recipe);
        if (recipe is null && !File.Exists(path))
            throw UserException.At(
                adapter, $"holds no {BundleFiles.Recipe} that names its data", null,
                "name a recipe with that data: --recipe FILE");
        var section = options.ToJson();
        section["method"] = AdapterOptions.Mixture;
        section["lora_dropout"] = 0;
        section["experts"] = new JsonObject
        {
            ["count"] = 1, ["train"] = false,
            ["from"] = new JsonArray(Path.GetFullPath(adapter))
        };
        section["router"] = new JsonObject { ["kind"] = new GateRouterOptions().Kind };
        return Recipe.Load(path,
        [
            "method=adapter", $"adapter={section.ToJsonString()}", "data.eval=[]", "evaluation={tasks: []}",
            $"training.max_steps={Steps}",
            "training.save_steps=0", "training.eval_steps=0", "training.load_best_model_at_end=false",
            "training.early_stopping_patience=0", "training.warmup_steps=0", "training.loraplus_lr_ratio=null",
            "training.continual={kind: none}", "training.manifold={coefficient: 0}",
            .. baseDirectory is null ? Array.Empty<string>()
            : [$"model.model_name_or_path={JsonValue.Create(baseDirectory).ToJsonString()}"],
            .. overrides,
        ]);
    }

    /// <summary>Trains the gate and writes it into the adapter's directory; until then nothing there changes.</summary>
    /// <exception cref="UserException">Another base, another run writing there, or data that cannot be
    /// used.</exception>
    public static TrainingOutcome Run(string adapter, Recipe recipe, Device device,
        params IReadOnlyList<IMetricSink> watchers)
    {
        using var taken = OutputDirectory.Take(adapter);
        RequireBase(adapter, recipe);
        using var run = RunBuilder.BuildGate(adapter, recipe, device, watchers);
        var outcome = new TrainingLoop(run.Training).Run(new StopRequest());
        run.Trainable.SaveResult(adapter);
        return outcome;
    }

    /// <summary>What an adapter's task is, its words embedded by the base: the mean of what that makes of their
    /// tokens.</summary>
    /// <remarks>Source: GLIDER, arXiv:2410.07172, which asks a sentence model. A router that goes by it embeds prompts
    /// in the same way.</remarks>
    /// <param name="recipe">Names the base.</param>
    /// <param name="text">The words.</param>
    /// <param name="device">Where to compute.</param>
    /// <exception cref="UserException">There are no words, or too many.</exception>
    public static TaskEmbedding Embed(Recipe recipe, string text, Device device)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        using var loaded = LoadedModel.Open(
            recipe.Paths.Resolve(recipe.Model.Directory), null, recipe.Model.Dtype, device);
        var model = loaded.Model;
        var encoder = RunBuilder.EncoderOf(recipe, RunBuilder.LoadTokenizer(recipe));
        var ids = encoder.Text(text);
        if (ids.Count == 0)
            throw UserException.At("--describe", "no words", "what the adapter was trained for");
        ids = [.. encoder.Prefix, .. ids];
        var most = model.Config.MaxPositionEmbeddings;
        if (ids.Count > most)
            throw UserException.At(
                "--describe", Words.Count(ids.Count, "token"), $"at most the base's {most} positions");
        var hidden = model.Hidden(
            torch.tensor([.. ids.Select(id => (long)id)], [1, ids.Count], device: model.Device),
            ForwardPass.ForInference());                                                       // [1, T, D]
        return new(
            text, false,
            [.. hidden.to(torch.float32).mean([1]).reshape(-1).Values<float>()]);
    }

    private static AdapterOptions OptionsOf(string adapter)
    {
        var options = BundleFiles.IsBundle(adapter) ? OwnBundle.Open(adapter).Manifest.Adapter
            : PeftConfig.ToOptions(LoraAdapterConfig.Read(adapter, _ => { }), PeftConfig.DefaultTargets);
        if (!options.IsPlainLora)
            throw UserException.At(adapter, $"a mixture with router {options.Router!.Kind}", "one plain LoRA");
        if (options.UseDora)
            throw UserException.At(adapter, "a DoRA", "one plain LoRA", "experts behind gates have no magnitudes");
        return !options.IsVariant ? options : throw UserException.At(
            adapter, $"trained on what {options.InitLoraWeights} left of the base", "one plain LoRA",
            "make it one with peft adapter export");
    }

    private static void RequireBase(string adapter, Recipe recipe)
    {
        if (!BundleFiles.IsBundle(adapter))
            return;
        var trainedOn = BundleManifest.Read(BundleFiles.PathOf(adapter, BundleFiles.Manifest)).Base;
        var directory = recipe.Paths.Resolve(recipe.Model.Directory);
        if (Directory.Exists(directory) && ModelLoader.Fingerprint(directory) is var found
            && found != trainedOn.Fingerprint)
            throw UserException.At(
                adapter,
                $"trained on {trainedOn.Name} (fingerprint {CheckpointFingerprint.Short(trainedOn.Fingerprint)})",
                $"the base of {recipe.Path}, {recipe.Model.Directory} (fingerprint "
                + $"{CheckpointFingerprint.Short(found)})",
                "name the base it was trained on with --base DIR");
    }
}

/// <summary>The gate of one frozen adapter: the result is the gate's file in the adapter's directory.</summary>
internal sealed class GateTrainable(BundleContents contents, string adapter, Recipe recipe, TrainingData data,
    Device device)
    : AdapterTrainable(contents)
{
    private const int MostExamples = 1000;

    /// <inheritdoc/>
    /// <remarks>The model is freed before the adapter is opened once more for its mean inputs.</remarks>
    public override void SaveResult(string directory)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        var gates = Modules.Select(module => (
            module.Path, GateVectors.Gate, module.Router!.parameters().Single().detach().clone().reshape(-1))).ToList();
        Model.Dispose();
        GateFile.Write(directory, [.. gates, .. MeanInputs()], GateFile.TaskToKeep(directory));
    }

    // The adapter as it is, without the gate: what its own data gives each of its modules.
    private List<(string, string, Tensor)> MeanInputs()
    {
        using var loaded = LoadedModel.Open(recipe.Paths.Resolve(recipe.Model.Directory), adapter, recipe.Model.Dtype,
            device);
        var model = loaded.Model;
        foreach (var path in loaded.Adapted!.Modules.Select(module => module.Path).ToList())
            model.Wrap(path, projection => new InputProbe(projection));
        var sums = new Dictionary<string, (Tensor Sum, long Tokens)>(StringComparer.Ordinal);
        var batches = data.Batches(recipe.Training.PerDeviceTrainBatchSize, recipe.Training.Seed);
        var most = Math.Min(MostExamples, data.TrainCount ?? MostExamples);
        for (var seen = 0L; seen < most;)
        {
            using var scope = torch.NewDisposeScope();
            var batch = batches.Next();
            seen += batch.SequenceCount;
            using var tensors = BatchTensors.From(batch, device);
            var pass = tensors.InferencePass();
            model.Hidden(tensors.Ids, pass);
            foreach (var record in pass.Records<InputSum>())
            {
                sums[record.Path] = sums.TryGetValue(record.Path, out var before)
                    ? (before.Sum.add_(record.Sum), before.Tokens + record.Tokens)
                    : (record.Sum.clone().MoveToOuterDisposeScope(), record.Tokens);
            }
        }
        return [.. sums.Select(pair => (
            pair.Key, GateVectors.MeanInput,
            (pair.Value.Sum / Math.Max(1, pair.Value.Tokens)).to(torch.float32).to(torch.CPU)))];
    }
}
