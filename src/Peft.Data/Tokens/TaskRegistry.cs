using Peft.Data.Examples;
using Peft.Formats;

namespace Peft.Data.Tokens;

/// <summary>Task names and their ids: those of the recipe's list first, then those of task columns as they come
/// up.</summary>
internal sealed class TaskRegistry
{
    private const int Most = 4096;
    private readonly List<string> _names = [];
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);

    public TaskRegistry(IEnumerable<DataSetOptions> dataSets)
    {
        foreach (var set in dataSets.Where(set => set.TaskColumn is null))
            IdOf(set.Task ?? set.Name, set.Place);
    }

    /// <summary>All names, by id.</summary>
    public IReadOnlyList<string> Names => _names;

    /// <summary>The id of a task, new or known.</summary>
    public int IdOf(string name, string place)
    {
        if (_ids.TryGetValue(name, out var id))
            return id;
        if (_names.Count == Most)
        {
            throw UserException.At(
                $"{place}.task_column", $"more than {Most:N0} different values", "a column of few task names",
                "choose another column");
        }

        _names.Add(name);
        return _ids[name] = _names.Count - 1;
    }
}
