using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Models.Loading;
using Peft.Training;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;

namespace Peft.Recipes;

/// <summary>The composition root: a checked recipe becomes a run that is ready to start.</summary>
public static class RunBuilder
{
    /// <summary>Opens the data and the model of a recipe and puts the run together; writes nothing.</summary>
    /// <exception cref="UserException">Anything the recipe names cannot be used.</exception>
    public static PreparedRun Build(Recipe recipe, OutputDirectory output, Device device, IReadOnlyList<IMetricSink> sinks)
    {
        var tokenizer = LoadTokenizer(recipe);
        var data = OpenData(recipe, tokenizer);
        var trainee = recipe.Method == Recipe.Full
            ? FullTrainee(recipe, tokenizer, device)
            : AdapterTrainee(recipe, data, device);
        CheckFits(recipe, trainee.Model, data);

        var options = recipe.Training;
        // Refused above where epochs decide and only reading tells.
        var steps = options.TotalSteps(() => data.Batches(options.PerDeviceTrainBatchSize, options.Seed).BatchesPerEpoch!.Value);
        var held = data.Eval.Count == 0 ? null : data;
        var run = new TrainingRun
        {
            Model = trainee.Model,
            Parameters = trainee.Parameters,
            Options = options,
            TotalSteps = steps,
            Schedule = LearningRateSchedule.From(options, steps),
            Optimizer = Optimizers.Create(options, trainee.Parameters),
            Batches = state => data.Batches(options.PerDeviceTrainBatchSize, options.Seed, state),
            AuxiliaryLoss = trainee.Adapted is { HasAuxiliaryLoss: true } adapted ? adapted.AuxiliaryLoss : null,
            Load = trainee.Adapted is null ? null : ExpertLoad.Of,
            Routing = trainee.Adapted is { Options.Router: not null } routed ? new RoutingProcedure(routed) : null,
            RoutingStatistics = trainee.Adapted is { Options.Router: not null } ? RoutingStatistics.Of : null,
            Evaluate = held is null ? null : _ => EvaluationLoss.Of(
                trainee.Model, held.Eval.Sequential(options.PerDeviceEvalBatchSize), held.TaskNames, device),
            Sinks = sinks,
            SaveModel = trainee.SaveExactly,
            LoadModel = trainee.Load,
            Checkpoints = new CheckpointStore(output.Path),
            ResumeFrom = output.Resume,
            Device = device,
            RecipeIdentity = recipe.Identity(),
        };
        // Before anything is written.
        if (output.Resume is { } checkpoint)
            TrainerStateFile.Read(checkpoint.Path).RequireSameRecipe(checkpoint.Path, run.RecipeIdentity);
        return new PreparedRun(recipe, output, data, tokenizer, trainee, run);
    }

    /// <summary>The tokenizer of a recipe.</summary>
    /// <exception cref="UserException">A directory that the model section names is not there, or holds no tokenizer.</exception>
    public static HuggingFaceTokenizer LoadTokenizer(Recipe recipe)
    {
        var faults = new Faults();
        var model = recipe.Model;
        foreach (var (key, path) in new[]
                 {
                     ("model_name_or_path", model.ModelNameOrPath), ("from_config", model.FromConfig), ("tokenizer", model.Tokenizer),
                 })
        {
            if (path is { Length: > 0 } && recipe.Paths.Resolve(path) is var found && !Directory.Exists(found) && !(key == "tokenizer" && File.Exists(found)))
                faults.Add($"model.{key}", Quote.Of(path), "an existing directory in Hugging Face layout", ModelOptions.AdviceFor(path));
        }

        faults.ThrowIfAny(recipe.Path);
        return HuggingFaceTokenizer.Load(recipe.Paths.Resolve(model.TokenizerDirectory));
    }

    /// <summary>Opens the data of a recipe; paths are found as <see cref="RecipePaths"/> says.</summary>
    public static TrainingData OpenData(Recipe recipe, HuggingFaceTokenizer tokenizer) =>
        TrainingData.Open(WithFoundFiles(recipe), EncoderOf(recipe, tokenizer), Directory.GetCurrentDirectory());

    /// <summary>How the texts of a recipe are encoded for its model.</summary>
    /// <exception cref="UserException">Tokenizer and model do not fit together.</exception>
    public static TextEncoder EncoderOf(Recipe recipe, HuggingFaceTokenizer tokenizer)
    {
        var directory = recipe.Model.FromConfig ?? recipe.Model.ModelNameOrPath;
        var config = ModelLoader.ReadConfig(recipe.Paths.Resolve(directory)).Config;
        return TextEncoder.Of(tokenizer, config.EosTokenIds, config.VocabularySize);
    }

    /// <summary>The data section with every path as it was found.</summary>
    public static DataOptions WithFoundFiles(Recipe recipe) => recipe.Data with
    {
        Train = [.. recipe.Data.Train.Select(set => set with { Files = [.. set.Files.Select(recipe.Paths.Resolve)] })],
        Eval = [.. recipe.Data.Eval.Select(set => set with { Files = [.. set.Files.Select(recipe.Paths.Resolve)] })],
    };

    private static Trainee AdapterTrainee(Recipe recipe, TrainingData data, Device device)
    {
        var directory = recipe.Paths.Resolve(recipe.Model.ModelNameOrPath);
        var model = LoadedModel.OpenBase(directory, recipe.Model.Dtype, device);
        var adapted = AdapterAttachment.Attach(model, recipe.AdapterOptions!, recipe.Training.Seed);
        if (recipe.ExpertsFrom.Count > 0)
            ExpertLoader.Load(adapted, [.. recipe.ExpertsFrom.Select(recipe.Paths.Resolve)]);
        adapted.HoldExperts();
        var contents = new BundleContents
        {
            Adapted = adapted,
            Base = new BaseIdentity(recipe.Model.ModelNameOrPath, ModelLoader.Fingerprint(directory)),
            ResolvedRecipe = ConfigText.ToYaml(recipe.Resolved),
            Data = [.. data.Files.Select(f => new DataIdentity(f.File, f.Sha256))],
            Seed = recipe.Training.Seed,
        };
        return new Trainee(
            model, adapted, adapted.Parameters,
            target => BundleWriter.Write(target, contents),
            target => BundleWriter.Write(target, contents),
            checkpoint =>
            {
                var weights = BundleReader.Load(checkpoint).Weights;
                BundleTensors.Load(adapted, weights.Path, weights.Entries);
            });
    }

    private static Trainee FullTrainee(Recipe recipe, HuggingFaceTokenizer tokenizer, Device device)
    {
        var dtype = recipe.Model.Dtype == "auto" ? ScalarType.Float32 : DtypeNames.Parse(recipe.Model.Dtype);
        var directory = recipe.Paths.Resolve(recipe.Model.FromConfig ?? recipe.Model.ModelNameOrPath);
        var model = recipe.Model.FromConfig is null
            ? ModelLoader.Load(directory, dtype, device)
            : ModelLoader.Create(ModelConfigFile.Read(directory), dtype, recipe.Training.Seed, device);
        model.RequireGrad(true);
        var files = FullModelFiles.From(directory, recipe.Paths.Resolve(recipe.Model.TokenizerDirectory));
        return new Trainee(
            model, null, model.BaseParameters,
            target => files.Save(target, model, dtype),
            target => files.Save(target, model, DtypeNames.Parse(recipe.Model.SaveDtype)),
            checkpoint => TensorFile.ReadInto(Path.Combine(checkpoint, FullModelFiles.Weights), [.. model.StateDict()]));
    }

    private static void CheckFits(Recipe recipe, CausalLanguageModel model, TrainingData data)
    {
        var faults = new Faults();
        if (recipe.Data.MaxLength > model.Config.MaxPositionEmbeddings)
            faults.Add("data.max_length", $"{recipe.Data.MaxLength}",
                $"at most the model's max_position_embeddings {model.Config.MaxPositionEmbeddings}");
        if (data.TrainCount is null && recipe.Training.MaxSteps == 0)
            faults.Add("training.max_steps", $"0, and streaming leaves the number of sequences unknown ({data.WhyUnknown})",
                "at least 1, or sizes that are known without reading (Parquet without filter)");
        if (data.TrainCount == 0)
            faults.Add("data.train", "no rows", "at least one row", "look at the files and filters with: peft data RECIPE");
        var held = data.Eval.Statistics.Tasks.Select(task => task.Key).ToList();
        foreach (var task in recipe.Evaluation.Tasks.Where(task => !held.Contains(task.Name)))
            faults.Add("evaluation.tasks", $"'{task.Name}'", $"a task that held-out rows have: {string.Join(", ", held)}");
        faults.ThrowIfAny(recipe.Path);
    }
}
