using System.Globalization;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;
using Peft.Training.Ranks;

namespace Peft.Recipes;

/// <summary>What a run will hold in memory at its peak, estimated before it starts: resident bytes of the
/// process.</summary>
/// <param name="Program">The program itself: its code, libtorch's, the data read so far.</param>
/// <param name="Base">Base weights, mapped or in memory; beside those that an adapter took a part of, that part and
/// what is left.</param>
/// <param name="Trained">Trainable parameters with gradients and optimizer state, those of pools side by side once
/// more.</param>
/// <param name="Activations">What the tensors of a training step take at their peak.</param>
/// <param name="Evaluation">The same of an evaluation batch; 0 where nothing is evaluated.</param>
/// <param name="RunsAgain">Whether blocks run again in the backward pass (gradient checkpointing).</param>
public sealed record MemoryEstimate(
    long Program, long Base, long Trained, long Activations, long Evaluation, bool RunsAgain)
{
    // The head's logits exist in blocks of rows and words, one a thread.
    private const long HeadBlockBytes = 4L << 20;
    // Code of libtorch's kernels and of ours that the first step brings in.
    private const long CodeOfSteps = 40L << 20;

    // The allocator keeps what is freed, so that a step does not wait for the kernel's pages, and its heap has holes:
    // measured over live tensors on both number types and shapes of 3 and 110 million parameters. Where tensors live
    // and die within each block the heap grows most beyond them.
    private const double HeldThroughout = 1.25;
    private const double HeldABlock = 3;
    // An evaluation's larger tensors are mapped by themselves and given back at once: beyond the first, what lives is
    // held less often over. Measured on the default recipe with batches of 16 to 256 rows.
    private const double HeldInEvaluation = 4;
    private const long HeldInHeap = 120L << 20;
    private const double HeldBeyond = 2.4;

    /// <summary>Processes of this run on this machine.</summary>
    public int Processes { get; init; } = 1;

    /// <summary>Bytes of the base that they have in common: a mapped file is in memory once.</summary>
    public long Common { get; init; }

    /// <summary>The peak of the whole process.</summary>
    public long Total => Program + Base + Trained + Math.Max(Training, Evaluating);

    /// <summary>What no allocator can do without.</summary>
    public long Least => Program + Base + Trained + Math.Max(Activations, Evaluation);

    private long Evaluating => (long)(HeldInEvaluation * Math.Min(Evaluation, HeldInHeap)
        + HeldBeyond * Math.Max(0, Evaluation - HeldInHeap));

    private long Training => (long)((RunsAgain ? HeldABlock : HeldThroughout) * Activations);

    /// <summary>Estimates a prepared run, of several ranks one of them.</summary>
    /// <remarks>
    /// Trainable parameters count once for themselves and once for the gradient, beside the optimizer's state. Rows
    /// that are streamed are taken to be <c>max_length</c> long. What is resident already, weights that were converted
    /// among it, is counted as it is.
    /// </remarks>
    /// <param name="run">The run.</param>
    /// <param name="processes">Its processes on this machine.</param>
    public static MemoryEstimate Of(PreparedRun run, int processes = 1)
    {
        var model = run.Trainable.Model;
        var options = run.Recipe.Training;
        var data = run.Recipe.Data;
        var modules = run.Trainable.Modules;
        var isFull = run.Recipe.Method == Recipe.Full;
        var longest = run.Data.IsStreaming ? data.MaxLength : run.Data.Train.Statistics.Lengths.Longest;
        long length = data.RowLength > 0 ? data.RowLength : Math.Min(data.MaxLength, longest);
        var weights = model.BaseParameters.Sum(p => p.Parameter.ByteCount());
        var mapped = IsMapped(run) ? weights : 0;
        // Of mapped weights initialization may have read some.
        var held = mapped > 0 ? MachineMemory.ReadOfMapped(".safetensors") : weights;
        var copies = modules.Sum(module => module.TakenOut is not { } taken ? 0
            : module.Wrapped.Weight.ByteCount() + taken.Down.ByteCount() + taken.Up.ByteCount());
        var values = run.Trainable.Parameters.Sum(p => p.Parameter.ByteCount());
        var state = run.Training.Optimizer.StateByteCount;
        var ranks = run.Training.Ranks.Size;
        // What preparing left free in the heap is there for the steps.
        TorchRuntime.TrimMemory();
        // A batch is never larger than what there is.
        var trainRows = Math.Min(options.PerDeviceTrainBatchSize, run.Data.TrainCount ?? long.MaxValue);
        long evalRows = Math.Min(
            options.PerDeviceEvalBatchSize,
            run.Recipe.Evaluation.Tasks.Select(task => (long)task.Rows).Append(run.Data.Eval.Count).Max());
        return new(
            Math.Max(0, Environment.WorkingSet - held - copies - (isFull ? 0 : values) - state) + CodeOfSteps,
            weights + copies,
            values * (isFull ? 1 : 2) + state + OfPools(modules)
                + (ranks == 1 ? 0 : sizeof(float) * run.TrainableParameters), // gradients once more, to be summed
            ActivationBytes(model, modules, RankPlan.MostRows(trainRows, ranks), length, options.GradientCheckpointing),
            EvaluationBytes(model, modules, evalRows, Math.Min(data.MaxLength, length)),
            options.GradientCheckpointing)
        {
            Processes = processes,
            Common = mapped,
        };
    }

    /// <summary>The most that the tensors of one training step take at once.</summary>
    /// <remarks>
    /// For each block what the fused operations keep: the two norms' inputs, q, k, v, the attention's output and one
    /// number a row and head, gate and up; what a family's own norms and activation keep
    /// (<see cref="ModelConfig.KeptBeyondLlama"/>) and an adapted projection (<see cref="KeptBytes"/>).
    /// With gradient checkpointing that is of one block, beside every block's input and the gates, and the gradients on
    /// their way through it. The head adds a block of logits and the slope of the loss by the last activations.
    /// </remarks>
    /// <param name="model">The model.</param>
    /// <param name="modules">Its adapted projections.</param>
    /// <param name="rows">Rows of a batch.</param>
    /// <param name="length">Tokens of a row.</param>
    /// <param name="gradientCheckpointing">Whether blocks are run again instead of kept.</param>
    public static long ActivationBytes(
        CausalLanguageModel model, IReadOnlyList<MixtureProjection> modules, long rows, long length,
        bool gradientCheckpointing)
    {
        var config = model.Config;
        var width = model.Dtype.ByteWidth();
        var tokens = rows * length;
        var heads = (long)config.HeadCount * config.HeadSize;
        var keys = (long)config.KeyValueHeadCount * config.HeadSize;
        var inner = config.InnerWidths / config.LayerCount;
        var perToken = (2L * config.HiddenSize) + (2 * heads) + (2 * keys) + (2 * inner);
        var (own, wide) = config.KeptBeyondLlama;
        var block = (tokens * (((perToken + own) * width) + (4 * wide))) + (4 * tokens * config.HeadCount)
            + ((OfMixtures(model, modules, tokens) + BesideShared(modules)) / config.LayerCount);
        var gates = tokens * 8 * modules.Where(m => m.Router is not (null or SharedRouter))
            .Sum(m => (long)m.Candidates);
        var head = Math.Min(HeadBlockBytes, 4 * tokens * config.VocabularySize) + (tokens * config.HiddenSize * width);
        return gates + head + (gradientCheckpointing
            ? (config.LayerCount * tokens * config.HiddenSize * width) + block
            : config.LayerCount * block);
    }

    /// <summary>The most that the tensors of one evaluation batch take at once: those of one block.</summary>
    /// <param name="model">The model.</param>
    /// <param name="modules">Its adapted projections.</param>
    /// <param name="rows">Rows of a batch.</param>
    /// <param name="length">Tokens of a row.</param>
    public static long EvaluationBytes(
        CausalLanguageModel model, IReadOnlyList<MixtureProjection> modules, long rows, long length)
    {
        var config = model.Config;
        var tokens = rows * length;
        var heads = (long)config.HeadCount * config.HeadSize;
        var keys = (long)config.KeyValueHeadCount * config.HeadSize;
        var inner = config.InnerWidths / config.LayerCount;
        var perToken = (7L * config.HiddenSize) + (3 * heads) + (3 * keys) + (3 * inner);
        // What backward does not need lives until the block is done, too.
        var (own, wide) = config.KeptBeyondLlama;
        var bytes = ((perToken + own) * model.Dtype.ByteWidth()) + (8 * wide);
        return (tokens * bytes)
            + ((OfMixtures(model, modules, tokens) + BesideShared(modules)) / config.LayerCount);
    }

    /// <summary>Bytes that an adapted projection keeps of a token beyond those of the layer that it wraps: H [E*R], and
    /// what its router keeps (<see cref="Router.KeptBytes"/>).</summary>
    /// <param name="module">The projection.</param>
    /// <param name="width">Bytes of a number of its input.</param>
    public static long KeptBytes(MixtureProjection module, int width)
    {
        var shape = module.Shape;
        // A magnitude's gradient takes what it multiplies. Where experts are whole feed-forwards there is a row for
        // each expert of a token, not one; of one that is cut into slices, what weighs them is kept beside its product.
        var outputs = (module.Magnitude is null ? 0 : 1) + (shape.Part == ExpertPart.Entry ? shape.Chosen - 1 : 0);
        var inputs = shape is { Part: ExpertPart.Exit, Experts: 1 } ? 1 : 0;
        // Of what experts make of their own output there is the state and, for a while, what was added to it.
        var again = module.Router is IChained chain ? chain.Iterations - 1 : 0;
        return (width * ((outputs * module.OutFeatures) + ((inputs + (2 * again)) * module.InFeatures)))
            + (sizeof(float) * module.AllColumns * (1 + again))
            + (shape.Dropout > 0 ? module.InFeatures : 0) // a byte says whether a number stays
            + (module.Router?.KeptBytes(width) ?? 0);
    }

    /// <summary>Refuses a batch that the machine cannot hold, however its memory is used.</summary>
    /// <param name="run">The run that this estimates.</param>
    /// <param name="machine">Bytes that the run's processes may have.</param>
    /// <exception cref="UserException">It cannot fit.</exception>
    public void RequireToFit(PreparedRun run, long machine)
    {
        var least = OfAll(Least);
        if (least <= machine)
            return;
        var options = run.Recipe.Training;
        var evaluation = Evaluation > Activations;
        var (key, rows) = evaluation
            ? ("training.per_device_eval_batch_size", options.PerDeviceEvalBatchSize)
            : ("training.per_device_train_batch_size", options.PerDeviceTrainBatchSize);
        var others = evaluation || options.GradientCheckpointing ? "" : ", set training.gradient_checkpointing: true";
        var what = rows > 1 ? $"reduce it or data.max_length{others}" : $"reduce data.max_length{others}";
        throw UserException.At(
            key, $"{Words.Count(rows, "row")}, which {(rows == 1 ? "needs" : "need")} at least {Giga(least)}"
                + (Processes > 1 ? $" in {Processes} processes on this machine" : ""),
            $"at most the {Giga(machine)} of this machine",
            $"{what}, or use a smaller base{(Processes > 1 ? " or fewer ranks on a machine" : "")}");
    }

    /// <summary>What to tell a user whose machine has less memory free than the run may take; null where it has
    /// enough.</summary>
    /// <param name="free">Bytes free now, those that the run's processes hold among them.</param>
    public string? Warning(long free) => OfAll(Total) is var total && total <= free
        ? null
        : $"this run may take {Giga(total)} of memory{(Processes > 1 ? $" in {Processes} processes" : "")} and "
            + $"{Giga(free)} are free: close other programs"
            + $"{(Processes > 1 ? ", start fewer ranks on a machine" : "")}, or reduce "
            + "training.per_device_train_batch_size, training.per_device_eval_batch_size or data.max_length";

    private long OfAll(long one) => one + ((Processes - 1) * (one - Common));

    /// <inheritdoc/>
    public override string ToString() =>
        $"memory: about {Mega(Total)} at the peak: program {Mega(Program)}, base {Mega(Base)}, trainable parameters "
            + "with gradients "
        + $"and optimizer {Mega(Trained)}, a training step {Mega(Training)}"
        + (Evaluation > 0 ? $" or an evaluation batch {Mega(Evaluating)}, whichever is larger"
        : "");

    // Weights of the type they are stored in are mapped, and not resident until a step reads them.
    private static bool IsMapped(PreparedRun run)
    {
        if (run.Recipe.Method == Recipe.Full || run.Training.Device.type != DeviceType.CPU
            || run.Recipe.Model.ModelNameOrPath is not { } named)
            return false;
        var directory = run.Recipe.Paths.Resolve(named);
        return Directory.Exists(directory) && ModelLoader.StoredType(directory) == run.Trainable.Model.Dtype;
    }

    private static long OfMixtures(CausalLanguageModel model, IReadOnlyList<MixtureProjection> modules, long tokens) =>
        tokens * modules.Sum(module => KeptBytes(module, model.Dtype.ByteWidth()));

    // A pool's matrices stand side by side once a pass, whichever of its layers comes first; with shared experts, which
    // are each layer's own, in each of its layers.
    private static long OfPools(IReadOnlyList<MixtureProjection> modules) => sizeof(float) * modules
        .Where(m => m.Candidates > m.Shape.Experts && m.Shape.Shared == 0)
        .Sum(m => (long)m.Shape.Experts * m.Shape.Rank * (m.InFeatures + m.OutFeatures));

    private static long BesideShared(IReadOnlyList<MixtureProjection> modules) => sizeof(float) * modules
        .Where(m => m.Candidates > m.Shape.Experts && m.Shape.Shared > 0)
        .Sum(m => m.AllColumns * (m.InFeatures + m.OutFeatures));

    private static string Mega(long bytes) =>
        string.Create(CultureInfo.InvariantCulture, $"{Math.Round(bytes / 1048576.0):N0} MB");

    private static string Giga(long bytes) =>
        string.Create(CultureInfo.InvariantCulture, $"{bytes / 1073741824.0:N1} GiB");
}

/// <summary>Memory of this machine as this process may use it.</summary>
public static class MachineMemory
{
    /// <summary>Bytes that this process may have at most: the machine's, or the container's limit.</summary>
    public static long Whole { get; } = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    /// <summary>Bytes free now, those that this process and others like it hold among them; all where the system does
    /// not tell.</summary>
    /// <param name="processes">This one and the others like it.</param>
    public static long Free(int processes = 1)
    {
        const string Key = "MemAvailable:";
        const string Source = "/proc/meminfo";
        var line = File.Exists(Source)
            ? File.ReadLines(Source).FirstOrDefault(l => l.StartsWith(Key, StringComparison.Ordinal)) : null;
        return line is not null
            && long.TryParse(
                line[Key.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture,
                out var kilo)
                ? Math.Min(Whole, (kilo * 1024) + (processes * Environment.WorkingSet))
                : Whole;
    }

    /// <summary>Bytes of files that this process has mapped and read; 0 where the system does not tell.</summary>
    /// <param name="ending">How their names end.</param>
    public static long ReadOfMapped(string ending)
    {
        const string Source = "/proc/self/smaps";
        const string Key = "Rss:";
        var (kilo, isMeant) = (0L, false);
        foreach (var line in File.Exists(Source) ? File.ReadLines(Source) : [])
        {
            // A mapping begins with its addresses; what there is of it follows, each by its name.
            if (char.IsAsciiHexDigitLower(line[0]))
                isMeant = line.EndsWith(ending, StringComparison.Ordinal);
            else if (isMeant && line.StartsWith(Key, StringComparison.Ordinal))
                kilo += long.Parse(line.AsSpan()[Key.Length..^"kB".Length], CultureInfo.InvariantCulture);
        }
        return kilo * 1024;
    }
}
