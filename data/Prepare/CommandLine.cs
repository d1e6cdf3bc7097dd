using Peft.Formats;
using Peft.Prepare.DataSets;

namespace Peft.Prepare;

/// <summary>What is to be done.</summary>
/// <param name="Task">One of the tasks of the program.</param>
/// <param name="Sets">The data sets it is done with.</param>
/// <param name="IsForced">True: also those that are there and current.</param>
internal sealed record CommandLine(ProgramTask Task, IReadOnlyList<DataSet> Sets, bool IsForced)
{
    /// <summary>Printed for <c>--help</c>.</summary>
    public const string Usage = """
        dotnet run --project data/Prepare -c Release -- OPTIONS

          [--only NAME[,NAME]] [--force]   write the data sets that are missing or changed; with --force also the others
          --check [--only NAME[,NAME]]     print the rows and the hash of each file
          --texts                          print the texts that the base model is trained on, one JSON string a line
        """;

    /// <summary>Reads the words behind the program's name.</summary>
    /// <exception cref="UserException">They are none of <see cref="Usage"/>; all faults at once.</exception>
    public static CommandLine Parse(IReadOnlyList<string> words)
    {
        var faults = new Faults();
        var task = ProgramTask.Write;
        var sets = Catalog.All;
        var isForced = false;
        for (var i = 0; i < words.Count; i++)
        {
            switch (words[i])
            {
                case "--force":
                    isForced = true;
                    break;
                case "--only":
                    sets = i + 1 < words.Count ? Named(words[++i], faults) : Named("", faults);
                    break;
                case "--check" or "--texts" or "--help" when task == ProgramTask.Write:
                    task = Enum.Parse<ProgramTask>(words[i].AsSpan(2), ignoreCase: true);
                    break;
                default:
                    faults.Add(
                        words[i], "not an option here",
                        "--only NAME[,NAME], --force, and one of --check, --texts and --help");
                    break;
            }
        }

        if (isForced && task != ProgramTask.Write)
            faults.Add("--force", "has no effect with --check and --texts, which write nothing");
        if (sets != Catalog.All && task == ProgramTask.Texts)
            faults.Add("--only", "has no effect with --texts, which prints the texts of corpus");
        faults.ThrowIfAny("the command line");
        return new(task, sets, isForced);
    }

    private static IReadOnlyList<DataSet> Named(string names, Faults faults)
    {
        var wanted = names.Split(',');
        var all = Catalog.All.Select(set => set.Name).ToList();
        foreach (var name in wanted.Except(all))
        {
            var advice = NearestName.Of(name, all) is { } near ? $"did you mean {near}?" : null;
            faults.Add("--only", name.Length > 0 ? name : "no name", Words.OneOf(all), advice);
        }

        return [.. Catalog.All.Where(set => wanted.Contains(set.Name))];
    }
}
