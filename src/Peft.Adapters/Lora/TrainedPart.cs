using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>What an adapter trains beside matrices of projections: whole modules, rows of the token table, a LoRA on
/// it.</summary>
/// <remarks>Source: huggingface/peft 0.20, <c>ModulesToSaveWrapper</c>, <c>TrainableTokensLayer</c>,
/// <c>lora.Embedding</c>; names and values are theirs.</remarks>
public abstract class TrainedPart
{
    /// <summary>What the parameter table calls it.</summary>
    public abstract string Path { get; }

    /// <summary>What the optimizer trains.</summary>
    public abstract IReadOnlyList<(string Name, Parameter Parameter)> Parameters { get; }

    /// <summary>What an adapter's file holds, in the shapes that it has there.</summary>
    public virtual IReadOnlyList<(string Name, Tensor Tensor)> State =>
        [.. Parameters.Select(pair => (pair.Name, (Tensor)pair.Parameter))];

    /// <summary>Puts it on the model.</summary>
    internal abstract void Install(CausalLanguageModel model);

    /// <summary>A base tensor with this part in it.</summary>
    /// <remarks>Shapes: as files hold it. Gradient: none.</remarks>
    public virtual Tensor Merge(string name, Tensor weight) => weight;

    /// <summary>Every part that the options ask for; their tensors come from a source.</summary>
    /// <exception cref="UserException">A module is not there, is adapted already, or a token is not there.</exception>
    internal static IReadOnlyList<TrainedPart> Of(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, long seed,
        TensorSource tensors)
    {
        if (!options.IsPlainLora && (options.ModulesToSave.Count > 0 || options.TrainableTokenIndices.Count > 0
            || selected.Any(module => module.Path == model.Embedding.Path)))
        {
            throw UserException.At(
                "adapter", "whole modules, token rows or the embeddings beside a mixture", "method: lora for them",
                "leave modules_to_save and trainable_token_indices out, and the embeddings out of target_modules");
        }

        if (options.IsVariant && selected.Any(module => module.Path == model.Embedding.Path))
            throw UserException.At(
                "adapter.target_modules", $"the embeddings, with "
                    + (options.UseDora ? "use_dora" : $"init_lora_weights: {options.InitLoraWeights}"),
                "linear projections alone with it", "leave the embeddings out of target_modules");
        var parts = new List<TrainedPart>();
        if (selected.FirstOrDefault(module => module.Path == model.Embedding.Path) is { } table)
            parts.Add(EmbeddingLora.Of(model, options, table, seed, tensors));
        if (SavedModule.Of(model, options, selected, tensors) is { } saved)
            parts.Add(saved);
        if (options.TrainableTokenIndices.Count > 0)
            parts.Add(TrainedTokens.Of(model, options, tensors));
        return parts;
    }
}

/// <summary>A LoRA on the table of token vectors: a token's row gets <c>scale · B A[:, token]</c>.</summary>
internal sealed class EmbeddingLora : TrainedPart
{
    private readonly double _scale;
    private readonly Parameter _down; // [R, V]
    private readonly Parameter _up; // [D, R]

    private EmbeddingLora(string path, double scale, Parameter down, Parameter up) =>
        (Path, _scale, _down, _up) = (path, scale, down, up);

    public override string Path { get; }

    public override IReadOnlyList<(string Name, Parameter Parameter)> Parameters =>
        [($"{Path}.lora_embedding_A", _down), ($"{Path}.lora_embedding_B", _up)];

    // PEFT begins with A at zero and B normal.
    public static EmbeddingLora Of(
        CausalLanguageModel model, AdapterOptions options, SelectedModule module, long seed, TensorSource tensors)
    {
        var table = model.Embedding.Weight;
        var (path, r) = (module.Path, (long)module.R);
        long[] down = [r, table.shape[0]], up = [table.shape[1], r];
        var a = tensors.Take($"{path}.lora_embedding_A", torch.float32, down, () => torch.zeros(down, torch.float32));
        var b = tensors.Take($"{path}.lora_embedding_B", torch.float32, up, () =>
        {
            using var random = Seeds.GeneratorFor(seed, $"{path}.lora_embedding_B");
            return torch.randn(up, torch.float32, generator: random);
        });
        return new EmbeddingLora(
            path, options.ScaleOf(module.R, module.Alpha, table.shape[0]), a.to(table.device).ToParameter(),
            b.to(table.device).ToParameter());
    }

    internal override void Install(CausalLanguageModel model) => model.Embedding.Adapt((ids, rows) =>
    {
        var hidden = _down.t().index_select(0, ids.reshape(-1)).mm(_up.t()) * _scale; // [N, D]
        return rows + hidden.reshape(rows.shape).to(rows.dtype);
    });

    public override Tensor Merge(string name, Tensor weight) => name != $"{Path}.weight" ? weight
        : weight + (_up.detach().mm(_down.detach()).t() * _scale).to(weight.dtype);
}

/// <summary>Modules of the base that are trained whole (<c>modules_to_save</c>), in place; the head in a copy where it
/// is also the table.</summary>
internal sealed class SavedModule : TrainedPart
{
    private readonly IReadOnlyList<(string Name, Parameter Parameter, Tensor Stored, Tensor Value)> _trained;
    private readonly string? _headCopy; // the weight's name where head and table part
    private readonly Parameter? _head;

    private SavedModule(
        IReadOnlyList<(string, Parameter, Tensor, Tensor)> trained, string? headCopy, Parameter? head) =>
        (_trained, _headCopy, _head) = (trained, headCopy, head);

    public override string Path => "modules_to_save";

    /// <summary>Whether the head has a weight of its own now.</summary>
    public bool CopiesHead => _head is not null;

    public override IReadOnlyList<(string Name, Parameter Parameter)> Parameters =>
    [
        .. _trained.Select(pair => (pair.Name, pair.Parameter)),
        .. _head is { requires_grad: true } ? new[] { (_headCopy!, _head) } : [],
    ];

    public override IReadOnlyList<(string Name, Tensor Tensor)> State =>
    [
        .. _trained.Select(pair => (pair.Name, pair.Stored)),
        .. _head is { requires_grad: true } ? new[] { (_headCopy!, (Tensor)_head) } : [],
    ];

    public static SavedModule? Of(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, TensorSource tensors)
    {
        if (options.ModulesToSave.Count == 0)
            return null;
        var head = $"{model.HeadProjection.Path}.weight";
        var stored = model.StateDict().ToDictionary(pair => pair.Name, pair => pair.Tensor, StringComparer.Ordinal);
        var names = model.BaseParameters.Select(pair => pair.Name).ToList();
        if (model.Config.TieWordEmbeddings)
            names.Add(head);
        var chosen = names.Where(name => options.ModulesToSave.Any(module => Holds(module, name))).ToList();
        Refuse(options, names, selected);
        var trained = model.BaseParameters.Where(pair => chosen.Contains(pair.Name))
            .Select(pair => (pair.Name, pair.Parameter, stored[pair.Name].DetachFromDisposeScope(), tensors.Take(
                pair.Name, pair.Parameter.dtype, stored[pair.Name].shape,
                () => stored[pair.Name].detach().cpu().clone())))
            .ToList();
        if (!model.Config.TieWordEmbeddings)
            return new SavedModule(trained, null, null);
        var trainsHead = chosen.Contains(head);
        if (!trainsHead && !chosen.Contains(model.Config.EmbeddingName))
            return new SavedModule(trained, null, null);
        var weight = model.HeadWeight;
        Tensor Own() => weight.detach().cpu().clone();
        var copy = trainsHead ? tensors.Take(head, weight.dtype, weight.shape, Own) : Own();
        return new SavedModule(trained, head, copy.to(weight.device).ToParameter(trainsHead));
    }

    internal override void Install(CausalLanguageModel model)
    {
        using var off = torch.no_grad();
        if (_head is not null)
            model.Wrap(model.HeadProjection.Path, inner => new BaseLinear(inner.Path, _head));
        foreach (var (_, parameter, stored, value) in _trained)
        {
            stored.copy_(value);
            parameter.requires_grad = true;
        }
    }

    public override Tensor Merge(string name, Tensor weight) => name == _headCopy ? _head!.detach() : weight;

    // A module's name covers all parameters below it.
    internal static bool Holds(string module, string parameter)
    {
        for (var end = parameter.LastIndexOf('.'); end > 0; end = parameter.LastIndexOf('.', end - 1))
        {
            if (ModulePattern.IsNamed(module, parameter[..end]))
                return true;
        }

        return false;
    }

    private static void Refuse(
        AdapterOptions options, List<string> names, IReadOnlyList<SelectedModule> selected)
    {
        var faults = new Faults();
        foreach (var module in options.ModulesToSave)
        {
            if (!names.Exists(name => Holds(module, name)))
            {
                var known = names.Select(name => name.Split('.')[^2]).Distinct().ToList();
                var near = NearestName.Of(module, known);
                faults.Add(
                    "modules_to_save", $"{Quote.Of(module)} matches no module", $"some of {string.Join(", ", known)}",
                    near is null ? null : $"did you mean {near}?");
            }

            if (selected.FirstOrDefault(adapted => Holds(module, adapted.Path + ".weight")) is { } both)
                faults.Add(
                    "modules_to_save", $"{Quote.Of(module)}, and {both.Path} has an adapter", "one of them",
                    "leave it out of target_modules, or exclude it");
        }

        faults.ThrowIfAny("adapter");
    }
}

/// <summary>Rows of the token table that are trained (<c>trainable_token_indices</c>); a tied head has them
/// too.</summary>
internal sealed class TrainedTokens : TrainedPart
{
    private readonly long[] _ids;
    private readonly Parameter _rows; // [n, D]: the rows themselves
    private readonly bool _isTied;

    private TrainedTokens(string table, long[] ids, Parameter rows, bool isTied) =>
        (Path, _ids, _rows, _isTied) = (table, ids, rows, isTied);

    public override string Path { get; }

    public override IReadOnlyList<(string Name, Parameter Parameter)> Parameters =>
        [($"{Path}.token_adapter.trainable_tokens_delta", _rows)];

    public static TrainedTokens Of(CausalLanguageModel model, AdapterOptions options, TensorSource tensors)
    {
        var table = model.Embedding.Weight;
        long[] ids = [.. options.TrainableTokenIndices.Select(id => (long)id)];
        if (ids.Distinct().Count() != ids.Length || ids.Any(id => id >= table.shape[0]))
        {
            throw UserException.At(
                "trainable_token_indices", string.Join(", ", ids.Take(8)),
                $"each id once, from 0 to {table.shape[0] - 1}");
        }

        long[] shape = [ids.Length, table.shape[1]];
        var rows = tensors.Take(
            $"{model.Embedding.Path}.token_adapter.trainable_tokens_delta", table.dtype, shape,
            () => table.detach().index_select(0, torch.tensor(ids, device: table.device)).cpu());
        return new TrainedTokens(
            model.Embedding.Path, ids, rows.to(table.device).ToParameter(), model.Config.TieWordEmbeddings);
    }

    internal override void Install(CausalLanguageModel model)
    {
        var table = model.Embedding.Weight;
        var places = new long[table.shape[0]];
        Array.Fill(places, -1);
        foreach (var (place, id) in _ids.Index())
            places[id] = place;
        var map = torch.tensor(places, device: table.device).DetachFromDisposeScope();
        model.Embedding.Adapt((ids, rows) =>
        {
            var place = map.index_select(0, ids.reshape(-1)); // [N]
            var own = _rows.index_select(0, place.clamp(min: 0)).reshape(rows.shape);
            return torch.where(place.ge(0).reshape([.. ids.shape, 1]), own, rows);
        });
        if (_isTied)
            model.Wrap(model.HeadProjection.Path, inner => new TokenHead(inner, _ids, _rows));
    }

    public override Tensor Merge(string name, Tensor weight) => name != $"{Path}.weight" ? weight
        : weight.index_copy(0, torch.tensor(_ids, device: weight.device), _rows.detach().to(weight.dtype));

    /// <summary>A head with other rows for some tokens.</summary>
    private sealed class TokenHead : Projection
    {
        private readonly Projection _inner;
        private readonly Tensor _ids;
        private readonly Parameter _rows;

        public TokenHead(Projection inner, long[] ids, Parameter rows)
            : base(inner.Path, inner.InFeatures, inner.OutFeatures)
        {
            _inner = RegisterModule("base_layer", inner);
            _ids = RegisterBuffer("ids", torch.tensor(ids, device: rows.device), persistent: false);
            _rows = rows;
        }

        public override Tensor Forward(Tensor x, ForwardPass pass) =>
            _inner.Forward(x, pass).index_copy(-1, _ids, torch.nn.functional.linear(x, _rows));
    }
}
