using System.Text;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Prepare.DataSets;

namespace Peft.Prepare.Cache;

/// <summary>
/// The folder of the prepared data sets: <c>NAME/{train,validation,test}.parquet</c> and a stamp beside them.
/// </summary>
internal sealed class DataCache(string folder)
{
    private const string StampFile = ".stamp";

    /// <summary>The path of one split of a data set.</summary>
    public string PathOf(DataSet set, string split) => Path.Combine(folder, set.Name, $"{split}.parquet");

    /// <summary>True when this program has written the data set from these packages.</summary>
    public bool IsCurrent(DataSet set, InstalledPackages packages)
    {
        var stamp = Path.Combine(folder, set.Name, StampFile);
        return set.Split.Names.All(split => File.Exists(PathOf(set, split)))
            && File.Exists(stamp)
            && File.ReadAllText(stamp) == StampOf(set, packages);
    }

    /// <summary>Keeps other runs out of the folder until it is given back.</summary>
    /// <exception cref="UserException">Another run is writing there.</exception>
    public DirectoryLock Lock()
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing(folder, error);
        }

        return DirectoryLock.TryTake(folder)
            ?? throw UserException.At(folder, "another run is writing data sets there", null, "wait until it is done");
    }

    /// <summary>Writes a data set: until the last byte of it is on the disk, the former one stays in place.</summary>
    public void Write(
        DataSet set, InstalledPackages packages, IReadOnlyDictionary<string, IReadOnlyList<string[]>> rows) =>
        AtomicDirectory.Replace(Path.Combine(folder, set.Name), temporary =>
        {
            foreach (var split in set.Split.Names)
            {
                var file = Path.Combine(temporary, $"{split}.parquet");
                ParquetRows.Write(file, set.Columns, rows[split]).GetAwaiter().GetResult();
            }

            File.WriteAllText(Path.Combine(temporary, StampFile), StampOf(set, packages));
        });

    // What decides the rows: this program and the packages.
    private static string StampOf(DataSet set, InstalledPackages packages)
    {
        var program = typeof(DataCache).Module.ModuleVersionId.ToString();
        var identity = string.Join('\n', set.Packages.Select(packages.Identity).Prepend(program));
        return Sha256.OfBytes(Encoding.UTF8.GetBytes(identity)) + "\n";
    }
}
