using Peft.Adapters.Bundles;
using Peft.Adapters.Merging;
using Peft.Formats;
using Peft.Models;
using Peft.Models.Loading;
using Peft.Training;

namespace Peft.Recipes;

/// <summary>Searches the weights of a merge on a few training rows of a recipe.</summary>
/// <remarks>Source: LoraHub, arXiv:2307.13269; the loss is the mean of the learned tokens.</remarks>
public static class MergeWeights
{
    /// <summary>The weights with the lowest loss of those that were tried (<see cref="WeightSearch"/>).</summary>
    /// <param name="sources">The adapters.</param>
    /// <param name="method">How they are merged.</param>
    /// <param name="options">Examples, steps and seed.</param>
    /// <param name="recipe">Names the base and the training rows.</param>
    /// <param name="device">Where to compute.</param>
    /// <exception cref="UserException">The adapters do not fit together or to the recipe's base, or there are no
    /// rows.</exception>
    public static FoundWeights Search(
        IReadOnlyList<MergeSource> sources, StaticMerge method, MergeOptions options, Recipe recipe, Device device)
    {
        var directory = recipe.Paths.Resolve(recipe.Model.Directory);
        var fingerprint = ModelLoader.Fingerprint(directory);
        if (sources.FirstOrDefault(source => source.Base is { } own && own.Fingerprint != fingerprint) is { } other)
            throw UserException.At(
                recipe.Path, $"its base is {recipe.Model.Directory} (fingerprint "
                    + $"{CheckpointFingerprint.Short(fingerprint)})",
                $"that of {other.Name}: {other.Base!.Name} (fingerprint "
                    + $"{CheckpointFingerprint.Short(other.Base.Fingerprint)})");
        using var held = new HeldMerge(sources, method, options);
        using var data = RunBuilder.OpenData(recipe, RunBuilder.LoadTokenizer(recipe));
        if (data.TrainCount == 0)
            throw UserException.At(
                recipe.Path, "data.train has no rows", "rows to search weights on",
                "look at the files and filters with peft data RECIPE");
        var batch = data.Batches(options.Examples, options.Seed).Next();
        using var model = LoadedModel.OpenBase(directory, recipe.Model.Dtype, device);
        var adapted = held.Attach(model);
        return WeightSearch.Run(sources.Count, options.Steps, options.Seed, weights =>
        {
            held.Fill(adapted, weights);
            return EvaluationLoss.Of(model, [batch], data.TaskNames, device)["eval_loss"];
        });
    }
}
