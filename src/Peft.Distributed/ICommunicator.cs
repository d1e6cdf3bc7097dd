using System.Runtime.InteropServices;
using System.Text;
using Peft.Formats;

namespace Peft.Distributed;

/// <summary>The type of numbers that are summed.</summary>
public enum ElementType
{
    /// <summary>32 bits.</summary>
    Float32,

    /// <summary>64 bits.</summary>
    Float64,
}

/// <summary>Several processes, the ranks, that work on one run: the six verbs that they need of each other.</summary>
/// <remarks>Each verb but <see cref="Rank"/>, <see cref="Size"/> and <see cref="Abort"/> is called by all ranks in the
/// same order, from one thread. Addresses are of host memory, with NCCL of the device's.</remarks>
public interface ICommunicator : IDisposable
{
    /// <summary>The number of this process, from 0.</summary>
    int Rank { get; }

    /// <summary>How many ranks there are.</summary>
    int Size { get; }

    /// <summary>Replaces numbers by their sums over all ranks: the same bits on each.</summary>
    /// <exception cref="CommunicationException">A rank did not come, or the engine failed.</exception>
    void AllReduce(nint values, long count, ElementType type);

    /// <summary>Replaces bytes by those of one rank.</summary>
    /// <exception cref="CommunicationException">A rank did not come, or the engine failed.</exception>
    void Broadcast(nint bytes, long count, int root);

    /// <summary>Waits for all ranks.</summary>
    /// <exception cref="CommunicationException">A rank did not come, or the engine failed.</exception>
    void Barrier();

    /// <summary>Ends all ranks at once; does not come back.</summary>
    void Abort(int exitCode);
}

/// <summary>A rank did not come, or the engine between the ranks failed.</summary>
/// <param name="message">What, in the house's form.</param>
/// <param name="inner">Its cause.</param>
public sealed class CommunicationException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Something that all ranks know to have gone wrong, so that each ends by itself and rank 0 tells of
/// it.</summary>
/// <param name="message">What is told, once.</param>
/// <param name="exitCode">With what all ranks end.</param>
public sealed class AgreedException(string message, int exitCode) : Exception(message)
{
    /// <summary>With what all ranks end.</summary>
    public int ExitCode => exitCode;
}

/// <summary>One process: nothing is loaded, and every verb is done at once.</summary>
public sealed class Alone : ICommunicator
{
    private Alone()
    {
    }

    /// <summary>The one there is.</summary>
    public static Alone Instance { get; } = new();

    /// <inheritdoc/>
    public int Rank => 0;

    /// <inheritdoc/>
    public int Size => 1;

    /// <inheritdoc/>
    public void AllReduce(nint values, long count, ElementType type)
    {
    }

    /// <inheritdoc/>
    public void Broadcast(nint bytes, long count, int root)
    {
    }

    /// <inheritdoc/>
    public void Barrier()
    {
    }

    /// <inheritdoc/>
    public void Abort(int exitCode) => Environment.Exit(exitCode);

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}

/// <summary>What the six verbs make.</summary>
public static class Communication
{
    /// <summary>Whether there is more than one rank.</summary>
    public static bool IsShared(this ICommunicator ranks) => ranks.Size > 1;

    /// <summary>Whether this rank writes and speaks.</summary>
    public static bool IsFirst(this ICommunicator ranks) => ranks.Rank == 0;

    /// <summary>Replaces numbers by their sums over all ranks.</summary>
    public static unsafe void Sum(this ICommunicator ranks, Span<double> values)
    {
        fixed (double* first = values)
            ranks.AllReduce((nint)first, values.Length, ElementType.Float64);
    }

    /// <summary>Replaces numbers by their sums over all ranks.</summary>
    public static unsafe void Sum(this ICommunicator ranks, Span<float> values)
    {
        fixed (float* first = values)
            ranks.AllReduce((nint)first, values.Length, ElementType.Float32);
    }

    /// <summary>The bytes of one rank.</summary>
    /// <param name="ranks">All.</param>
    /// <param name="own">What this rank has; read where it is the root.</param>
    /// <param name="root">Whose bytes.</param>
    public static byte[] BytesOf(this ICommunicator ranks, byte[] own, int root)
    {
        if (!ranks.IsShared())
            return own;
        var length = new byte[sizeof(long)];
        BitConverter.TryWriteBytes(length, (long)own.Length);
        Send(ranks, length, root);
        var bytes = ranks.Rank == root ? own : new byte[BitConverter.ToInt64(length)];
        if (bytes.Length > 0)
            Send(ranks, bytes, root);
        return bytes;
    }

    /// <summary>The text of rank 0.</summary>
    public static string TextOfFirst(this ICommunicator ranks, string own) =>
        Encoding.UTF8.GetString(ranks.BytesOf(Encoding.UTF8.GetBytes(own), 0));

    /// <summary>What each rank has to say, in their order, known to all.</summary>
    public static string[] Texts(this ICommunicator ranks, string own)
    {
        var bytes = Encoding.UTF8.GetBytes(own);
        return [.. Enumerable.Range(0, ranks.Size).Select(root => Encoding.UTF8.GetString(ranks.BytesOf(bytes, root)))];
    }

    /// <summary>Whether something is so on any rank.</summary>
    public static bool Any(this ICommunicator ranks, bool here)
    {
        if (!ranks.IsShared())
            return here;
        Span<double> count = [here ? 1 : 0];
        ranks.Sum(count);
        return count[0] > 0;
    }

    /// <summary>Does something that a rank may fail in alone: where one fails, all do, and know why.</summary>
    /// <param name="ranks">All.</param>
    /// <param name="action">What each does; it calls none of the verbs.</param>
    /// <param name="describe">What is told of an exception, and the exit code.</param>
    /// <exception cref="AgreedException">It failed on a rank.</exception>
    public static T Together<T>(
        this ICommunicator ranks, Func<T> action, Func<Exception, (string Text, int ExitCode)> describe)
    {
        if (!ranks.IsShared())
            return action();
        var (result, text, code) = (default(T), "", 0);
        try
        {
            result = action();
        }
        catch (Exception error)
        {
            (text, code) = describe(error);
        }
        if (!ranks.Any(code != 0))
            return result!;
        (result as IDisposable)?.Dispose();
        var all = ranks.Texts(code == 0 ? "" : $"{code} {text}");
        throw Agreed(all, ranks.Texts(Environment.MachineName));
    }

    /// <summary>One exception for what several ranks met.</summary>
    internal static AgreedException Agreed(IReadOnlyList<string> all, IReadOnlyList<string> hosts)
    {
        var faults = all.Index().Where(one => one.Item.Length > 0)
            .Select(one => (Rank: one.Index, Code: int.Parse(one.Item.Split(' ')[0]),
                Text: one.Item[(one.Item.IndexOf(' ') + 1)..])).ToList();
        var code = faults.Max(fault => fault.Code);
        if (faults.Count == all.Count && faults.TrueForAll(fault => fault.Text == faults[0].Text))
            return new AgreedException(faults[0].Text, code);
        return new AgreedException(
            string.Join('\n', faults.GroupBy(fault => fault.Text).Select(same =>
                $"{Named([.. same.Select(fault => fault.Rank)], hosts)}: {same.Key}")), code);
    }

    /// <summary>Ranks and their hosts, as messages name them.</summary>
    public static string Named(IReadOnlyList<int> some, IReadOnlyList<string> hosts) =>
        $"{(some.Count == 1 ? "rank" : "ranks")} {Words.AllOf([.. some.Select(rank => $"{rank}")])} on "
        + Words.AllOf([.. some.Select(rank => hosts[rank]).Distinct()]);

    private static unsafe void Send(ICommunicator ranks, byte[] bytes, int root)
    {
        fixed (byte* first = bytes)
            ranks.Broadcast((nint)first, bytes.Length, root);
    }
}
