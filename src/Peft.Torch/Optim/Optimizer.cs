namespace Peft.Torch.Optim;

/// <summary>Changes parameters by their gradients. State is keyed by parameter name, in the parameter's type
/// and on its device; it is never a member of a dispose scope.</summary>
/// <remarks>A parameter of 16 bits is stepped as a float32 master, and takes its rounded value: a step smaller than
/// half its last digit would be lost. Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.1.
/// In place of TorchSharp's: those go one parameter at a time, key their state by handle and save it in a
/// format of their own.</remarks>
public abstract class Optimizer : IDisposable
{
    private readonly Group[] _groups;
    private readonly string[] _stateNames;

    private protected Optimizer(
        IEnumerable<ParamGroup> groups, double lr, double weight_decay, params string[] stateNames)
    {
        this.lr = NonNegative(lr, nameof(lr));
        NonNegative(weight_decay, nameof(weight_decay));
        _stateNames = stateNames;
        _groups = [.. groups.Select(group => new Group(group, group.WeightDecay ?? weight_decay, stateNames.Length))];
        var names = new HashSet<string>();
        foreach (var name in _groups.SelectMany(group => group.Names))
        {
            if (!names.Add(name)) throw new ArgumentException($"optimizer: parameter '{name}' is given twice.");
        }
    }

    /// <summary>The learning rate of the next step; groups multiply it.</summary>
    public double lr { get; set; }

    /// <summary>Steps taken, by parameter name; a step without a gradient is not counted.</summary>
    public IReadOnlyDictionary<string, long> StepCounts =>
        _groups.SelectMany(g => g.Names.Zip(g.Steps)).ToDictionary(p => p.First, p => p.Second);

    /// <summary>What the state takes, masters included.</summary>
    /// <remarks>Unit: bytes.</remarks>
    public long StateByteCount => _groups.Sum(group =>
        group.State.SelectMany(tensors => tensors).Sum(tensor => tensor.ByteCount())
        + Enumerable.Range(0, group.Names.Length).Where(group.HasMaster).Sum(i => group.Masters[i].ByteCount()));

    /// <summary>Changes every parameter that has a gradient.</summary>
    public void step()
    {
        using var scope = torch.NewDisposeScope();
        using var outside = torch.no_grad();
        foreach (var group in _groups)
        {
            var moving = new List<Slot>(group.Names.Length);
            for (var i = 0; i < group.Names.Length; i++)
            {
                if (group.Parameters[i].grad is { } gradient) moving.Add(group.At(i, gradient));
            }

            StepGroup(moving, lr * group.LrMultiplier, group.WeightDecay);
            foreach (var slot in moving)
            {
                group.Steps[slot.Index]++;
                if (!ReferenceEquals(slot.Parameter, group.Parameters[slot.Index]))
                    group.Parameters[slot.Index].copy_(slot.Parameter);
            }
        }
    }

    /// <summary>Removes the gradients.</summary>
    public void zero_grad()
    {
        foreach (var parameter in _groups.SelectMany(group => group.Parameters)) parameter.grad = null;
    }

    /// <summary>The state, by names such as <c>exp_avg.NAME</c>, <c>step.NAME</c> (int64 scalar) and <c>master.NAME</c>
    /// where there is one. The tensors are new handles that share the optimizer's memory.</summary>
    public IReadOnlyDictionary<string, Tensor> StateDict()
    {
        var state = new SortedDictionary<string, Tensor>(StringComparer.Ordinal);
        foreach (var group in _groups)
        {
            for (var i = 0; i < group.Names.Length; i++)
            {
                state[$"step.{group.Names[i]}"] = torch.tensor(group.Steps[i]);
                for (var s = 0; s < _stateNames.Length; s++)
                    state[$"{_stateNames[s]}.{group.Names[i]}"] = group.State[s][i].alias();
                if (group.HasMaster(i))
                    state[$"master.{group.Names[i]}"] = group.Masters[i].alias();
            }
        }

        return state;
    }

    /// <summary>Copies a state in.</summary>
    /// <exception cref="ArgumentException">A name is missing or unknown, or a shape differs; then nothing is
    /// changed.</exception>
    public void LoadStateDict(IReadOnlyDictionary<string, Tensor> state)
    {
        using var scope = torch.NewDisposeScope();
        using var outside = torch.no_grad();
        var own = StateDict();
        foreach (var (name, target) in own) Check(name, target, state);
        if (state.Keys.FirstOrDefault(name => !own.ContainsKey(name)) is { } unknown)
            throw new ArgumentException($"optimizer state: '{unknown}' belongs to no parameter of this optimizer.");

        foreach (var (name, target) in own) target.copy_(state[name]);
        foreach (var group in _groups)
        {
            for (var i = 0; i < group.Names.Length; i++) group.Steps[i] = state[$"step.{group.Names[i]}"].ToInt64();
        }
    }

    /// <summary>Frees the state; parameters live on.</summary>
    public void Dispose()
    {
        foreach (var tensor in _groups.SelectMany(group => group.State).SelectMany(tensors => tensors))
            tensor.Dispose();
        foreach (var group in _groups)
        {
            for (var i = 0; i < group.Names.Length; i++)
            {
                if (group.HasMaster(i)) group.Masters[i].Dispose();
            }
        }

        GC.SuppressFinalize(this);
    }

    private protected static double NonNegative(double value, string name) =>
        value >= 0 ? value
        : throw new ArgumentOutOfRangeException(name, value, $"{name}: {value}; expected 0 or more.");

    private protected static double Fraction(double value, string name) => value is >= 0 and < 1
        ? value
        : throw new ArgumentOutOfRangeException(name, value, $"{name}: {value}; expected at least 0 and below 1.");

    /// <summary>One step of parameters that have a gradient. Runs in a scope and without recording.</summary>
    private protected abstract void StepGroup(IReadOnlyList<Slot> slots, double groupLr, double weightDecay);

    private static void Check(string name, Tensor target, IReadOnlyDictionary<string, Tensor> state)
    {
        if (!state.TryGetValue(name, out var given))
            throw new ArgumentException(
                $"optimizer state: '{name}' is missing; expected the state of these parameters.");
        if (!given.shape.AsSpan().SequenceEqual(target.shape))
        {
            throw new ArgumentException($"optimizer state: '{name}' has shape [{string.Join(", ", given.shape)}]; "
                + $"expected [{string.Join(", ", target.shape)}].");
        }

        if (name.StartsWith("step.", StringComparison.Ordinal) && given.ToInt64() < 0)
            throw new ArgumentException($"optimizer state: '{name}' is {given.ToInt64()}; expected 0 or more.");
    }

    /// <summary>A parameter or its master, its gradient, its state and the number of the step it takes now, from 1
    /// on.</summary>
    private protected sealed record Slot(int Index, Tensor Parameter, Tensor Gradient, Tensor[] State, long Step);

    /// <summary>One group with its state.</summary>
    private sealed class Group(ParamGroup source, double weightDecay, int states)
    {
        internal double LrMultiplier => source.LrMultiplier;

        internal double WeightDecay { get; } = weightDecay;

        internal string[] Names { get; } = [.. source.Parameters.Select(p => p.name)];

        internal Parameter[] Parameters { get; } = [.. source.Parameters.Select(p => p.parameter)];

        // What is stepped: the parameter, or a float32 copy of one of 16 bits.
        internal Tensor[] Masters { get; } = [.. source.Parameters.Select(p => Master(p.parameter))];

        internal long[] Steps { get; } = new long[source.Parameters.Count];

        internal Tensor[][] State { get; } = [
            .. Enumerable.Range(0, states).Select(_ => source.Parameters.Select(p => Zeros(p.parameter)).ToArray())];

        internal bool HasMaster(int i) => !ReferenceEquals(Masters[i], Parameters[i]);

        internal Slot At(int i, Tensor gradient) => new(
            i, Masters[i], HasMaster(i) ? gradient.to(Masters[i].dtype) : gradient,
            Array.ConvertAll(State, tensors => tensors[i]), Steps[i] + 1);

        private static Tensor Zeros(Parameter like)
        {
            using var outside = torch.no_grad();
            return torch.zeros_like(like, dtype: MasterType(like)).DetachFromDisposeScope();
        }

        private static Tensor Master(Parameter parameter)
        {
            using var outside = torch.no_grad();
            return MasterType(parameter) == parameter.dtype
                ? parameter : parameter.detach().to(MasterType(parameter)).DetachFromDisposeScope();
        }

        private static ScalarType MasterType(Parameter parameter) =>
            parameter.dtype is ScalarType.BFloat16 or ScalarType.Float16 ? ScalarType.Float32 : parameter.dtype;
    }
}

/// <summary>Parameters that share their settings.</summary>
/// <param name="Parameters">By name; the names key the state.</param>
/// <param name="LrMultiplier">Times the optimizer's learning rate.</param>
/// <param name="WeightDecay">In place of the optimizer's; null means the optimizer's.</param>
public sealed record ParamGroup(
    IReadOnlyList<(string name, Parameter parameter)> Parameters, double LrMultiplier = 1, double? WeightDecay = null);
