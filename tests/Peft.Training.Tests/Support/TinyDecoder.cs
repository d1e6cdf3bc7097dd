using Peft.Adapters.Lora;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Training.Tests.Support;

/// <summary>
/// A random decoder of any family with an adapter whose second matrices are random too, so that every tensor has a
/// gradient.
/// </summary>
public sealed class TinyDecoder : IDisposable
{
    private readonly TempFolder _folder = new();

    public TinyDecoder(string modelType, string extra, AdapterOptions? adapter, ScalarType dtype = ScalarType.Float64)
    {
        File.WriteAllText(_folder["config.json"], $$"""
            {"model_type": "{{modelType}}", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32, "rms_norm_eps": 1e-6,
             "rope_theta": 10000.0, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
             "initializer_range": 0.2{{(extra == "" ? "" : ", " + extra)}}}
            """);
        Model = ModelLoader.Create(ModelConfigFile.Read(_folder.Path), dtype, 3);
        if (adapter is null)
        {
            Model.RequireGrad(true);
            Parameters = Model.BaseParameters;
            return;
        }

        Adapted = AdapterAttachment.Attach(Model, adapter, 5);
        Parameters = Adapted.Parameters;
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        foreach (var module in Adapted.Modules)
            module.Up.copy_(torch.randn(module.Up.shape, generator: Seeds.GeneratorFor(9, module.Path)) * 0.3);
    }

    public CausalLanguageModel Model { get; }

    public AdaptedModel? Adapted { get; }

    public IReadOnlyList<(string Name, Parameter Parameter)> Parameters { get; }

    /// <summary>Takes the gradients away and returns them as plain numbers; zeros where there is none.</summary>
    public SortedDictionary<string, double[]> TakeGradients()
    {
        using var scope = torch.NewDisposeScope();
        var gradients = new SortedDictionary<string, double[]>(StringComparer.Ordinal);
        foreach (var (name, parameter) in Parameters)
        {
            gradients.Add(name, parameter.grad is { } gradient
                ? gradient.to(ScalarType.Float64).contiguous().data<double>().ToArray()
                : new double[parameter.numel()]);
            parameter.grad = null;
        }

        return gradients;
    }

    /// <summary>The largest difference over the largest value, of all tensors.</summary>
    public static double Distance(SortedDictionary<string, double[]> expected, SortedDictionary<string, double[]> found)
    {
        Assert.Equal(expected.Keys, found.Keys);
        var scale = expected.Values.Max(values => values.Max(Math.Abs));
        Assert.True(scale > 0 && double.IsFinite(scale));
        return expected.Max(pair => pair.Value.Zip(found[pair.Key], (a, b) => Math.Abs(a - b)).Max()) / scale;
    }

    public void Dispose()
    {
        Model.Dispose();
        _folder.Dispose();
    }
}
