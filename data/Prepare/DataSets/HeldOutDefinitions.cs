using System.Text.RegularExpressions;

namespace Peft.Prepare.DataSets;

/// <summary>Finds definitions that tasks hold out in the senses of another dictionary.</summary>
internal sealed partial class HeldOutDefinitions
{
    private const string Separator = "; ";

    private readonly HashSet<string> _definitions = [];
    private readonly int _mostClauses;

    public HeldOutDefinitions(IEnumerable<string> definitions)
    {
        foreach (var clauses in definitions.Select(Clauses))
        {
            _definitions.Add(string.Join(Separator, clauses));
            _mostClauses = Math.Max(_mostClauses, clauses.Count);
        }
    }

    /// <summary>
    /// True when a clause of the text, or clauses that follow each other, are one of the definitions: their letters and
    /// digits, whatever the case and the marks between them.
    /// </summary>
    public bool StandIn(string text)
    {
        var clauses = Clauses(text);
        for (var start = 0; start < clauses.Count; start++)
        {
            var run = "";
            foreach (var clause in clauses.Skip(start).Take(_mostClauses))
            {
                run = run.Length > 0 ? run + Separator + clause : clause;
                if (_definitions.Contains(run))
                    return true;
            }
        }

        return false;
    }

    private static List<string> Clauses(string text) =>
        [.. text.Split(['.', ';', ':', '?', '!', '[', ']', '(', ')', '"'])
            .Select(clause => Other().Replace(clause.ToLowerInvariant(), " ").Trim(' '))
            .Where(clause => clause.Length > 0)];

    [GeneratedRegex("[^a-z0-9]+")]
    private static partial Regex Other();
}
