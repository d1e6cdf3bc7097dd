using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

public static partial class torch
{
    public static partial class optim
    {
        /// <summary>Changes parameters by their gradients. State is keyed by parameter name and made at the first
        /// step, in the
        /// parameter's type and on its device; it is never a member of a dispose scope.</summary>
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
                _groups = [.. groups.Select(group => new Group(group, group.WeightDecay ?? weight_decay))];
                var names = new HashSet<string>();
                foreach (var (name, _) in NamedParameters())
                {
                    if (!names.Add(name)) throw new ArgumentException($"optimizer - parameter '{name}' given twice");
                }
            }

            /// <summary>The learning rate of the next step; groups multiply it.</summary>
            public double lr { get; set; }

            /// <summary>Steps taken, by parameter name; a step without a gradient is not counted.</summary>
            public IReadOnlyDictionary<string, long> StepCounts =>
                _groups.SelectMany(g => g.Names.Zip(g.Counters)).ToDictionary(p => p.First, p => p.Second);

            /// <summary>Changes every parameter that has a gradient.</summary>
            public void step()
            {
                foreach (var group in _groups)
                {
                    group.MakeState(_stateNames.Length);
                    StepGroup(group, lr * group.LrMultiplier);
                }
            }

            /// <summary>Removes the gradients.</summary>
            public void zero_grad()
            {
                foreach (var group in _groups) pt_zero_grad(group.Parameters);
            }

            /// <summary>The state, by names such as <c>exp_avg.NAME</c> and <c>step.NAME</c> (int64 scalar). The
            /// tensors are new
            /// handles that share the optimizer's memory.</summary>
            public IReadOnlyDictionary<string, Tensor> StateDict()
            {
                var state = new SortedDictionary<string, Tensor>(StringComparer.Ordinal);
                foreach (var group in _groups)
                {
                    group.MakeState(_stateNames.Length);
                    for (var i = 0; i < group.Names.Length; i++)
                    {
                        state[$"step.{group.Names[i]}"] = tensor(group.Counters[i]);
                        for (var s = 0; s < _stateNames.Length; s++)
                        {
                            pt_list_get(group.State[s], i, out var item);
                            state[$"{_stateNames[s]}.{group.Names[i]}"] = new Tensor(item);
                        }
                    }
                }

                return state;
            }

            /// <summary>Copies a state in. Errors: a name is missing or unknown, or a shape differs; then nothing is
            /// changed.</summary>
            public void LoadStateDict(IReadOnlyDictionary<string, Tensor> state)
            {
                using var scope = NewDisposeScope();
                using var outside = no_grad();
                var own = StateDict();
                foreach (var (name, target) in own)
                {
                    if (!state.TryGetValue(name, out var given))
                    {
                        throw new ArgumentException($"optimizer state - '{name}' is missing - the state is of other parameters");
                    }

                    if (!given.shape.AsSpan().SequenceEqual(target.shape))
                    {
                        throw new ArgumentException($"optimizer state - '{name}' has shape [{string.Join(", ", given.shape)}] - "
                            + $"allowed: [{string.Join(", ", target.shape)}]");
                    }

                    if (name.StartsWith("step.", StringComparison.Ordinal) && given.ToInt64() < 0)
                    {
                        throw new ArgumentException($"optimizer state - '{name}' is {given.ToInt64()} - allowed: 0 or more");
                    }
                }

                foreach (var name in state.Keys)
                {
                    if (!own.ContainsKey(name))
                    {
                        throw new ArgumentException($"optimizer state - '{name}' is of no parameter of this optimizer");
                    }
                }

                foreach (var (name, target) in own) target.copy_(state[name]);
                foreach (var group in _groups)
                {
                    for (var i = 0; i < group.Names.Length; i++)
                    {
                        group.Counters[i] = state[$"step.{group.Names[i]}"].ToInt64();
                    }
                }
            }

            /// <summary>Frees the state; parameters live on.</summary>
            public void Dispose()
            {
                foreach (var group in _groups) group.Dispose();
                GC.SuppressFinalize(this);
            }

            private protected static double NonNegative(double value, string name) =>
                value >= 0 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} is {value} - allowed: 0 or more");

            private protected static double Fraction(double value, string name) => value is >= 0 and < 1
                ? value
                : throw new ArgumentOutOfRangeException(name, value, $"{name} is {value} - allowed: at least 0, below 1");

            private protected abstract void StepGroup(Group group, double groupLr);

            private IEnumerable<(string Name, Parameter Parameter)> NamedParameters() =>
                _groups.SelectMany(g => g.Source.Parameters);

            /// <summary>One group with its native lists.</summary>
            private protected sealed class Group(ParamGroup source, double weightDecay) : IDisposable
            {
                internal ParamGroup Source { get; } = source;

                internal double LrMultiplier => Source.LrMultiplier;

                internal double WeightDecay { get; } = weightDecay;

                internal string[] Names { get; } = [.. source.Parameters.Select(p => p.name)];

                internal long[] Counters { get; } = new long[source.Parameters.Count];

                internal TensorListHandle Parameters { get; } = TensorListHandle.Of(source.Parameters.Select(p => p.parameter));

                internal TensorListHandle[] State { get; private set; } = [];

                public void Dispose()
                {
                    Parameters.Dispose();
                    foreach (var list in State) list.Dispose();
                }

                internal void MakeState(int kinds)
                {
                    if (State.Length == kinds) return;
                    using var scope = NewDisposeScope();
                    using var outside = no_grad();
                    State = [.. Enumerable.Range(0, kinds).Select(
                        _ => TensorListHandle.Of(Source.Parameters.Select(p => zeros_like(p.parameter))))];
                }
            }
        }
    }
}
