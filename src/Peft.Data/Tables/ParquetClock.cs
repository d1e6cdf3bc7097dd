namespace Peft.Data.Tables;

/// <summary>Reads Parquet against the clock.</summary>
/// <remarks>Over some damaged bytes the library reads on for ever, takes no cancellation there, and works on a copy in memory that no stream can
/// stop: the thread is left behind, and the file is told to be damaged.</remarks>
public static class ParquetClock
{
    private const long SlowestBytes = 1 << 20; // a second

    private static readonly TimeSpan Shortest = TimeSpan.FromSeconds(30);

    /// <summary>The result of a reading that ends in time.</summary>
    /// <exception cref="InvalidDataException">It does not end within 30 s and 1 s for each MiB of the file.</exception>
    public static T Within<T>(string path, Func<Task<T>> read)
    {
        var limit = Shortest + TimeSpan.FromSeconds(new FileInfo(path).Length / SlowestBytes);
        var reading = Task.Run(read);
        if (!((IAsyncResult)reading).AsyncWaitHandle.WaitOne(limit))
            throw new InvalidDataException($"it could not be read in {limit.TotalSeconds:F0} s");
        return reading.GetAwaiter().GetResult();
    }
}
