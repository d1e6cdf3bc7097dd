using Peft.Formats;

namespace Peft.Data.Batches;

/// <summary>
/// Bytes that are appended and then read at any place: in memory up to a budget, beyond it in a temporary file that has
/// no name (so that a crash leaves nothing). What is read does not depend on where it lies.
/// </summary>
internal sealed class SpillBuffer(long budget, string folder) : IDisposable
{
    private const int PageBytes = 1 << 20;
    private readonly List<byte[]> _pages = []; // all of it, or only the last page once there is a file
    private FileStream? _file;

    /// <summary>Bytes so far.</summary>
    public long Length { get; private set; }

    /// <summary>True when the budget did not do.</summary>
    public bool IsOnDisk => _file is not null;

    private long Flushed => _file is null ? 0 : Length / PageBytes * PageBytes;

    /// <summary>Appends bytes and says where they begin.</summary>
    public long Append(ReadOnlySpan<byte> bytes)
    {
        var start = Length;
        while (bytes.Length > 0)
        {
            var used = (int)(Length % PageBytes);
            if (used == 0 && _file is null)
                _pages.Add(new byte[PageBytes]);
            var part = bytes[..Math.Min(bytes.Length, PageBytes - used)];
            part.CopyTo(_pages[^1].AsSpan(used));
            Length += part.Length;
            bytes = bytes[part.Length..];
            if (Length % PageBytes != 0)
                continue;
            if (_file is not null)
                Write(_pages[^1], Length - PageBytes);
            else if (Length >= budget)
                MoveToDisk();
        }

        return start;
    }

    /// <summary>Reads bytes.</summary>
    public void Read(long offset, Span<byte> bytes)
    {
        if (offset < 0 || offset + bytes.Length > Length)
            throw new ArgumentOutOfRangeException(nameof(offset), offset, $"{bytes.Length} bytes end after {Length}");
        var onDisk = (int)Math.Clamp(Flushed - offset, 0, bytes.Length);
        for (var at = 0; at < onDisk;)
        {
            var read = RandomAccess.Read(_file!.SafeFileHandle, bytes[at..onDisk], offset + at);
            at += read > 0 ? read : throw new IOException("the temporary file of the token store is cut short");
        }

        for (var at = onDisk; at < bytes.Length;)
        {
            var from = offset + at - Flushed;
            var page = _pages[(int)(from / PageBytes)].AsSpan((int)(from % PageBytes));
            var part = page[..Math.Min(page.Length, bytes.Length - at)];
            part.CopyTo(bytes[at..]);
            at += part.Length;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file?.Dispose();

    // Called at a page's end only: every page is full.
    private void MoveToDisk()
    {
        var path = Path.Combine(folder, $"peft-tokens-{Guid.NewGuid():N}");
        try
        {
            Directory.CreateDirectory(folder);
            var file = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
            File.Delete(path);
            _file = file;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw Failed(error);
        }

        for (var page = 0; page < _pages.Count; page++)
            Write(_pages[page], (long)page * PageBytes);
        _pages.RemoveRange(0, _pages.Count - 1);
    }

    private void Write(byte[] page, long offset)
    {
        try
        {
            RandomAccess.Write(_file!.SafeFileHandle, page, offset);
        }
        catch (IOException error)
        {
            throw Failed(error);
        }
    }

    private UserException Failed(Exception error) => UserException.At(
        folder, $"cannot hold the tokens: {error.Message.TrimEnd('.')}", "a folder with room for 4 bytes a token",
        "free some room, set `data.spill_directory`, or raise `data.memory_budget_mb`", error);
}
