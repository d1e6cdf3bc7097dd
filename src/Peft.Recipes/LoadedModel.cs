using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Chat;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;
using Peft.Formats.Tokenizers;
using Peft.Models;
using Peft.Models.Loading;
using Peft.Recipes.Reading;

namespace Peft.Recipes;

/// <summary>A base model, with an adapter on it if asked for, and its tokenizer.</summary>
public sealed class LoadedModel : IDisposable
{
    private readonly Lazy<HuggingFaceTokenizer> _tokenizer;
    private readonly Lazy<TaskRouting?> _tasks;

    private readonly string? _adapter;

    private LoadedModel(CausalLanguageModel model, AdaptedModel? adapted, string baseDirectory, string? adapter)
    {
        _adapter = adapter;
        Model = model;
        Adapted = adapted;
        BaseDirectory = baseDirectory;
        TokenizerDirectory = TokenizerOf(baseDirectory, adapter);
        _tokenizer = new(() => HuggingFaceTokenizer.Load(TokenizerDirectory));
        _tasks = new(() => adapter is null ? null : TaskRouting.Of(adapter));
    }

    /// <summary>The model.</summary>
    public CausalLanguageModel Model { get; }

    /// <summary>The model with its adapter; null for a base model.</summary>
    public AdaptedModel? Adapted { get; }

    /// <summary>Where its base is.</summary>
    public string BaseDirectory { get; }

    /// <summary>Where its tokenizer is.</summary>
    public string TokenizerDirectory { get; }

    /// <summary>Its tokenizer, read when first needed.</summary>
    public HuggingFaceTokenizer Tokenizer => _tokenizer.Value;

    /// <summary>The tasks that its experts know, where they go by task, read when first needed; else null.</summary>
    public TaskRouting? Tasks => _tasks.Value;

    /// <summary>Refuses an adapter whose router cannot write a text token by token.</summary>
    /// <exception cref="UserException">It cannot.</exception>
    public void RequireDecoding()
    {
        if (Adapted?.Options.Router is { WhyNoDecoding: { } why } router)
            throw UserException.At(
                _adapter!, $"router {router.Kind} cannot write a text: {why}",
                "measuring of given texts (peft eval with choices or perplexity, peft logits)");
    }

    /// <summary>How its texts are encoded.</summary>
    /// <exception cref="UserException">Tokenizer and model do not fit together.</exception>
    public TextEncoder Encoder => TextEncoder.Of(Tokenizer, Model.Config.EosTokenIds, Model.Config.VocabularySize);

    /// <summary>The chat template that it was trained with, or another one that is asked for.</summary>
    /// <param name="asked">A template's text, name or file; null for the adapter's, or else the base's.</param>
    /// <param name="place">Where it is asked for, for messages.</param>
    /// <exception cref="UserException">There is none, or it is not Jinja.</exception>
    public ChatTemplate TemplateOf(string? asked, string place) =>
        TemplateOf(TokenizerDirectory, Tokenizer, _adapter, asked, place);

    /// <summary>Where the tokenizer is that an adapter was trained with: what its recipe names as model.tokenizer, or
    /// else its base.</summary>
    /// <param name="baseDirectory">The base.</param>
    /// <param name="adapter">The adapter; null: none.</param>
    /// <exception cref="UserException">The recipe's tokenizer is not here.</exception>
    public static string TokenizerOf(string baseDirectory, string? adapter)
    {
        var recipe = adapter is null ? "" : BundleFiles.PathOf(adapter, BundleFiles.Recipe);
        if (adapter is null || !File.Exists(recipe)
            || YamlReader.ReadFile(recipe)["model"] is not ConfigMap model
            || model["tokenizer"] is not ConfigScalar { Text: { } named })
            return baseDirectory;
        var found = RecipePaths.OfAdapter(adapter).Resolve(named);
        return Path.Exists(found) ? found : throw UserException.At(
            adapter, $"trained with tokenizer {Quote.Of(named)}, which is not here", "the same tokenizer",
            $"put it there, or name another place as model.tokenizer in {recipe}");
    }

    /// <summary>The chat template of an adapter on a base.</summary>
    /// <param name="tokenizerDirectory">Where its tokenizer is.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="adapter">The adapter; null: none.</param>
    /// <param name="asked">A template's text, name or file; null for the adapter's, or else the base's.</param>
    /// <param name="place">Where it is asked for, for messages.</param>
    /// <exception cref="UserException">There is none, or it is not Jinja.</exception>
    public static ChatTemplate TemplateOf(
        string tokenizerDirectory, HuggingFaceTokenizer tokenizer, string? adapter, string? asked, string place)
    {
        var own = TemplatesOf(tokenizerDirectory, tokenizer);
        if (asked is null && adapter is not null && BundleFiles.ChatTemplateOf(adapter) is { } remembered)
            own = own.WithDefault(remembered);
        return TemplateCatalog.Find(asked, own, path => path, place);
    }

    /// <summary>The chat templates of a tokenizer's directory, with the special tokens that they name.</summary>
    public static ChatTemplates TemplatesOf(string directory, HuggingFaceTokenizer tokenizer)
    {
        var templates = ChatTemplates.Read(Directory.Exists(directory) ? directory : Path.GetDirectoryName(directory)!);
        return templates
            .WithToken("bos_token", tokenizer.BosId is { } bos ? tokenizer.IdToToken(bos) : null)
            .WithToken("eos_token", tokenizer.EosId is { } eos ? tokenizer.IdToToken(eos) : null);
    }

    /// <summary>Opens a base and an adapter.</summary>
    /// <param name="baseDirectory">The base; null: the one the adapter names.</param>
    /// <param name="adapter">The adapter; null: none.</param>
    /// <param name="dtype">As a recipe or command line gives it.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="warn">Told of what has no effect here; null: nobody is.</param>
    /// <param name="fingerprint">The base's fingerprint where it is known already.</param>
    /// <exception cref="UserException">Neither is named, or a directory cannot be read.</exception>
    public static LoadedModel Open(string? baseDirectory, string? adapter, string dtype, Device device,
        Action<string>? warn = null, string? fingerprint = null)
    {
        var bundle = adapter is null ? null : Bundle.Open(adapter, warn);
        var directory = baseDirectory ?? (bundle is null ? BaseOf(null) : BaseOf(bundle.Directory, bundle.BaseName));
        var model = OpenBase(directory, dtype, device);
        if (bundle is null)
            return new(model, null, directory, null);
        // Hashing a large base takes seconds: only a manifest has a fingerprint to compare it with.
        var identity = bundle.Manifest is null ? null
            : new BaseIdentity(directory, fingerprint ?? ModelLoader.Fingerprint(directory));
        return new(model, bundle.Attach(model, new AttachOptions { Base = identity }), directory, adapter);
    }

    /// <summary>Opens a base in the type that a recipe or command line asks for.</summary>
    public static CausalLanguageModel OpenBase(string directory, string dtype, Device device) =>
        ModelLoader.Load(directory, TypeOf(directory, dtype, device), device);

    /// <summary>Name of the type that a base would be opened in.</summary>
    public static string TypeName(string directory, string dtype, Device device) =>
        TypeOf(directory, dtype, device).Name();

    private static ScalarType TypeOf(string directory, string dtype, Device device) =>
        dtype == "auto" ? MachineTypes.Choose(dtype, ModelLoader.StoredType(directory), device)
            : DtypeNames.Parse(dtype);

    /// <summary>Frees the model.</summary>
    public void Dispose() => Model.Dispose();

    /// <summary>Its routers, to be fitted to the texts that it meets.</summary>
    /// <exception cref="UserException">It has none that can be.</exception>
    public Rewiring Rewired(RewiringOptions options) => new(
        Adapted ?? throw UserException.At("--rewire", "no adapter", "a mixture, whose routers are fitted",
            "name one with --adapter DIR"), options);

    /// <summary>The directory of the base that an adapter names.</summary>
    /// <exception cref="UserException">It names none, or one that is not here.</exception>
    public static string BaseOf(string? adapter) =>
        adapter is null
            ? throw UserException.At("--base", "missing", "a model directory, or an adapter that names its base")
            : BaseOf(adapter, Bundle.BaseNameOf(adapter));

    private static string BaseOf(string adapter, string named) => Found(adapter, named)
        ?? throw UserException.At(
            adapter,
            named.Length == 0 ? "does not name its base model"
            : $"its base model {Quote.Of(named)} is not a directory here",
            null, "name the base with --base DIR");

    /// <summary>The directory of the base that an adapter names; null where it is not here.</summary>
    /// <param name="adapter">The adapter.</param>
    /// <param name="named">What it names; empty for nothing.</param>
    public static string? TryBaseOf(string adapter, out string named)
    {
        named = Bundle.BaseNameOf(adapter);
        return Found(adapter, named);
    }

    private static string? Found(string adapter, string named)
    {
        var found = named.Length == 0 ? "" : RecipePaths.OfAdapter(adapter).Resolve(named);
        return Directory.Exists(found) ? found : null;
    }
}
