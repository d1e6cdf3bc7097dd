using Peft.Adapters.Routing;
using Peft.Data.Tables;
using Peft.Distributed;
using Peft.Formats;

namespace Peft.Training.Ranks;

/// <summary>What ranks tell each other in a step: one sum over a flat float32 buffer of all gradients, and one over a
/// few numbers.</summary>
/// <remarks>With one rank nothing is copied and nothing is called.</remarks>
/// <param name="ranks">All, for numbers in the memory of the host.</param>
/// <param name="gradients">The same ranks, for numbers where the parameters are.</param>
public sealed class StepExchange(ICommunicator ranks, ICommunicator gradients) : IDisposable
{
    private Tensor? _flat;

    /// <summary>Replaces each gradient by its sum over the ranks, and likewise what else the step counts.</summary>
    /// <remarks>Shapes: any. A parameter without a gradient here has one where any rank has.</remarks>
    /// <param name="parameters">The trainable parameters.</param>
    /// <param name="sums">What is counted, float32.</param>
    public void Sum(IReadOnlyList<(string Name, Parameter Parameter)> parameters, IReadOnlyList<Tensor> sums)
    {
        if (!ranks.IsShared())
            return;
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        var device = parameters[0].Parameter.device;
        var numbers = parameters.Sum(pair => pair.Parameter.numel()) + sums.Sum(sum => sum.numel());
        _flat ??= torch.zeros([numbers + parameters.Count], ScalarType.Float32, device).DetachFromDisposeScope();
        var at = 0L;
        foreach (var (_, parameter) in parameters)
        {
            var place = Next(parameter.numel());
            if (parameter.grad is { } gradient)
                place.copy_(gradient.reshape(-1));
            else
                place.zero_();
        }
        foreach (var sum in sums)
            Next(sum.numel()).copy_(sum.reshape(-1));
        // Which have a gradient at all: the optimizer passes the others over.
        Next(parameters.Count).copy_(torch.tensor(
            parameters.Select(pair => pair.Parameter.grad is null ? 0f : 1f).ToArray(), [parameters.Count]));
        gradients.AllReduce(_flat.Address(), _flat.numel(), ElementType.Float32);

        at = numbers;
        var had = Next(parameters.Count).Values<float>();
        at = 0;
        foreach (var ((_, parameter), holders) in parameters.Zip(had))
        {
            var place = Next(parameter.numel());
            if (holders == 0)
                continue;
            if (parameter.grad is null)
                parameter.grad = torch.zeros_like(parameter).DetachFromDisposeScope();
            parameter.grad!.copy_(place.reshape(parameter.shape));
        }
        foreach (var sum in sums)
            sum.copy_(Next(sum.numel()).reshape(sum.shape));

        Tensor Next(long count)
        {
            at += count;
            return _flat!.narrow(0, at - count, count);
        }
    }

    /// <summary>The sums of some numbers over the ranks.</summary>
    public void Sum(Span<double> numbers)
    {
        if (ranks.IsShared())
            ranks.Sum(numbers);
    }

    /// <summary>Refuses ranks whose trained tensors are no longer the same bits.</summary>
    /// <exception cref="AgreedException">They are not.</exception>
    public void RequireSame(IReadOnlyList<Tensor> trained, int step)
    {
        if (!ranks.IsShared())
            return;
        var own = Handshake.HashOf(trained.Select(tensor => ("", tensor)));
        if (ranks.Any(own != ranks.TextOfFirst(own)))
            throw new AgreedException(Fault.Text(
                "ranks", $"what they trained differs after step {step}", "the same bits on every rank",
                "nothing was saved after the last checkpoint: look for a machine with another processor or library, "
                    + "and resume from the last checkpoint"), 1);
    }

    /// <summary>Sums a tensor in place over the ranks, for statistics of a batch that they compute together.</summary>
    /// <remarks>Shapes: any, float32 or float64, contiguous.</remarks>
    public void SumInPlace(Tensor values)
    {
        var type = values.dtype == ScalarType.Float64 ? ElementType.Float64 : ElementType.Float32;
        if (values.device.type == DeviceType.CPU)
            ranks.AllReduce(values.Address(), values.numel(), type);
        else
            gradients.AllReduce(values.Address(), values.numel(), type);
    }

    /// <summary>The rows of all ranks, those of rank 0 first.</summary>
    /// <remarks>Shapes: [n, E] float32 each, equally many of one width on every rank, to [N, E].</remarks>
    public IReadOnlyList<Tensor> RowsOfAll(IReadOnlyList<Tensor> own)
    {
        var counts = new double[own.Count * ranks.Size];
        for (var i = 0; i < own.Count; i++)
            counts[(i * ranks.Size) + ranks.Rank] = own[i].shape[0];
        ranks.Sum(counts.AsSpan());
        return [.. own.Select((rows, i) =>
        {
            var of = counts.AsSpan(i * ranks.Size, ranks.Size).ToArray();
            var all = torch.zeros([(long)of.Sum(), rows.shape[1]], ScalarType.Float32, rows.device);
            all.narrow(0, (long)of.Take(ranks.Rank).Sum(), rows.shape[0]).copy_(rows);
            SumInPlace(all);
            return all;
        })];
    }

    /// <summary>Gives every rank the numbers of rank 0.</summary>
    /// <remarks>Shapes: any, the same on each rank.</remarks>
    public void SendFromFirst(IReadOnlyList<Tensor> tensors)
    {
        if (!ranks.IsShared())
            return;
        using var off = torch.no_grad();
        foreach (var tensor in tensors)
        {
            using var scope = torch.NewDisposeScope();
            var host = tensor.detach().to(torch.CPU).contiguous();
            ranks.Broadcast(host.Address(), host.ByteCount(), 0);
            if (!ranks.IsFirst())
                tensor.copy_(host);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _flat?.Dispose();
}

/// <summary>Plain numbers of one step; the loop's only reads from the device.</summary>
internal sealed class StepSums
{
    private double[]? _load;
    private int _loads;

    /// <summary>Loss of the learned tokens.</summary>
    public double Loss { get; private set; }

    /// <summary>The auxiliary loss.</summary>
    public double Aux { get; private set; }

    /// <summary>What routing did in the last pass; empty where nobody asked.</summary>
    public IReadOnlyList<RoutingStatistics> Routing { get; set; } = [];

    /// <summary>Rows whose own loss is not finite.</summary>
    public List<RowId> Blamed { get; } = [];

    /// <summary>Adds a pass.</summary>
    public void Add(double loss, double aux, IReadOnlyList<double> load, bool isCounted)
    {
        Loss += loss;
        Aux += isCounted ? aux : 0;
        if (load.Count == 0 || !isCounted)
            return;
        _load ??= new double[load.Count];
        for (var e = 0; e < load.Count; e++)
            _load[e] += load[e];
        _loads++;
    }

    /// <summary>Puts the sums over the ranks in place of this one's.</summary>
    /// <returns>Whether any rank is asked to stop.</returns>
    public bool SumOver(StepExchange exchange, bool stops, int widestLoad)
    {
        const int Before = 6;
        var numbers = new double[Before + widestLoad];
        (numbers[0], numbers[1], numbers[2], numbers[3]) = (Loss, Aux, stops ? 1 : 0, _loads);
        // How long it is, from those that have one.
        (numbers[4], numbers[5]) = _load is null ? (0, 0) : (_load.Length, 1);
        _load?.CopyTo(numbers, Before);
        exchange.Sum(numbers);
        (Loss, Aux, _loads) = (numbers[0], numbers[1], (int)numbers[3]);
        _load = numbers[5] == 0 ? null : numbers[Before..(Before + (int)(numbers[4] / numbers[5]))];
        return numbers[2] > 0;
    }

    /// <summary>Each expert's share, mean over the passes; empty without routing.</summary>
    public IReadOnlyList<double> Load() => _load is null ? [] : [.. _load.Select(v => Math.Round(v / _loads, 6))];
}
