namespace Peft.Torch;

public static partial class torch
{
    /// <summary>Modules and what they are made of.</summary>
    public static partial class nn
    {
        /// <summary>Something with named parameters, buffers and parts. What it owns is registered by hand, in order;
        /// it keeps
        /// nothing else from one step to the next.</summary>
        public abstract class Module : IDisposable
        {
            private readonly List<KeyValuePair<string, Parameter>> _parameters = [];
            private readonly List<(string Name, Tensor Buffer, bool Persistent)> _buffers = [];
            private readonly List<KeyValuePair<string, Module>> _modules = [];

            /// <summary>A module with a name for messages; its type's name where none is given.</summary>
            protected Module(string? name = null) => Name = name ?? GetType().Name;

            /// <summary>The name for messages.</summary>
            public string Name { get; }

            /// <summary>Parameters by dotted name, own ones first; one that is registered twice comes once.</summary>
            public IEnumerable<(string name, Parameter parameter)> named_parameters(bool recurse = true, string prefix = "")
            {
                var seen = new HashSet<Parameter>(ReferenceEqualityComparer.Instance);
                foreach (var (path, module) in Parts(recurse, prefix))
                {
                    foreach (var (name, parameter) in module._parameters)
                    {
                        if (seen.Add(parameter)) yield return (Join(path, name), parameter);
                    }
                }
            }

            /// <summary>Parameters in the order of <see cref="named_parameters"/>.</summary>
            public IEnumerable<Parameter> parameters(bool recurse = true) => named_parameters(recurse).Select(p => p.parameter);

            /// <summary>Buffers by dotted name; persistent ones only where asked.</summary>
            public IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool persistentOnly = false)
            {
                foreach (var (path, module) in Parts(recurse, ""))
                {
                    foreach (var (name, buffer, persistent) in module._buffers)
                    {
                        if (persistent || !persistentOnly) yield return (Join(path, name), buffer);
                    }
                }
            }

            /// <summary>This module (under the prefix) and all its parts, each before its own parts.</summary>
            public IEnumerable<(string name, Module module)> named_modules(string prefix = "") => Parts(true, prefix);

            /// <summary>The direct parts.</summary>
            public IEnumerable<(string name, Module module)> named_children() => _modules.Select(m => (m.Key, m.Value));

            /// <summary>Moves everything to a device, and floating-point parameters and buffers to a type. Parameters
            /// stay the
            /// same objects.</summary>
            public Module to(Device? device = null, ScalarType? dtype = null)
            {
                using (no_grad())
                {
                    foreach (var (_, parameter) in named_parameters()) Move(parameter, device, dtype);
                    foreach (var (_, buffer) in named_buffers()) Move(buffer, device, dtype);
                }

                return this;
            }

            /// <summary>Frees parameters, buffers and parts.</summary>
            public void Dispose()
            {
                Dispose(disposing: true);
                GC.SuppressFinalize(this);
            }

            /// <summary>Takes over a parameter.</summary>
            protected Parameter RegisterParameter(string name, Parameter parameter)
            {
                CheckName(name);
                _parameters.Add(new(name, parameter));
                return parameter;
            }

            /// <summary>Takes over a tensor that is not trained; it leaves its dispose scope. Persistent ones are
            /// saved.</summary>
            protected Tensor RegisterBuffer(string name, Tensor buffer, bool persistent = true)
            {
                CheckName(name);
                _buffers.Add((name, buffer.DetachFromDisposeScope(), persistent));
                return buffer;
            }

            /// <summary>Takes over a part.</summary>
            protected TModule RegisterModule<TModule>(string name, TModule module)
                where TModule : Module
            {
                CheckName(name);
                _modules.Add(new(name, module));
                return module;
            }

            /// <summary>Puts another module in a part's place and returns the former one, which the caller now
            /// owns.</summary>
            protected Module ReplaceModule(string name, Module module)
            {
                var index = _modules.FindIndex(m => m.Key == name);
                if (index < 0) throw new ArgumentException($"{Name} - has no part '{name}' - allowed: a registered name");
                var former = _modules[index].Value;
                _modules[index] = new(name, module);
                return former;
            }

            /// <summary>Frees what the module owns.</summary>
            protected virtual void Dispose(bool disposing)
            {
                if (!disposing) return;
                foreach (var (_, parameter) in _parameters) parameter.Dispose();
                foreach (var (_, buffer, _) in _buffers) buffer.Dispose();
                foreach (var (_, module) in _modules) module.Dispose();
            }

            private static string Join(string prefix, string name) => prefix.Length == 0 ? name : $"{prefix}.{name}";

            private static void Move(Tensor tensor, Device? device, ScalarType? dtype)
            {
                var wanted = dtype is { } given && tensor.is_floating_point() ? given : tensor.dtype;
                using var moved = tensor.to(device ?? tensor.device, wanted);
                tensor.set_data(moved);
            }

            private IEnumerable<(string Path, Module Module)> Parts(bool recurse, string prefix)
            {
                yield return (prefix, this);
                if (!recurse) yield break;
                foreach (var (name, module) in _modules)
                {
                    foreach (var part in module.Parts(true, Join(prefix, name))) yield return part;
                }
            }

            private void CheckName(string name)
            {
                var taken = _parameters.Any(p => p.Key == name) || _buffers.Any(b => b.Name == name)
                    || _modules.Any(m => m.Key == name);
                if (name.Length == 0 || name.Contains('.', StringComparison.Ordinal) || taken)
                {
                    throw new ArgumentException($"{Name} - registers '{name}' - allowed: a name without a dot that is not "
                        + "registered yet");
                }
            }
        }
    }
}
