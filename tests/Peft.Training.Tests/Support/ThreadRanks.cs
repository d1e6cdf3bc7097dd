using Peft.Distributed;

namespace Peft.Training.Tests.Support;

/// <summary>Ranks that are threads of the test: the verbs without an engine.</summary>
public sealed unsafe class ThreadRanks
{
    private readonly Barrier _meeting;
    private readonly nint[] _addresses;
    private readonly (long Count, ElementType Type)[] _asked;

    private ThreadRanks(int size) =>
        (_meeting, _addresses, _asked) = (new Barrier(size), new nint[size], new (long, ElementType)[size]);

    /// <summary>Runs an action on several ranks at once and gives what each returned, in their order.</summary>
    public static T[] Run<T>(int size, Func<ICommunicator, T> action)
    {
        var shared = new ThreadRanks(size);
        var results = new T[size];
        var errors = new Exception?[size];
        var threads = Enumerable.Range(0, size).Select(rank => new Thread(() =>
        {
            try
            {
                results[rank] = action(new Member(shared, rank, size));
            }
            catch (Exception error)
            {
                errors[rank] = error;
                shared._meeting.RemoveParticipant();
            }
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        if (errors.OfType<Exception>().FirstOrDefault() is { } first)
            throw new AggregateException(errors.OfType<Exception>());
        return results;
    }

    private sealed class Member(ThreadRanks shared, int rank, int size) : ICommunicator
    {
        public int Rank => rank;

        public int Size => size;

        public void AllReduce(nint values, long count, ElementType type)
        {
            shared._addresses[rank] = values;
            shared._asked[rank] = (count, type);
            shared._meeting.SignalAndWait();
            // An engine would read beyond the end, or not come back.
            if (shared._asked.Distinct().Count() > 1)
                throw new InvalidOperationException($"ranks sum {string.Join(" and ", shared._asked)}");
            if (rank == 0)
            {
                if (type == ElementType.Float32)
                    Add<float>(count);
                else
                    Add<double>(count);
            }
            shared._meeting.SignalAndWait();
        }

        public void Broadcast(nint bytes, long count, int root)
        {
            shared._addresses[rank] = bytes;
            shared._meeting.SignalAndWait();
            if (rank != root)
                Buffer.MemoryCopy((void*)shared._addresses[root], (void*)bytes, count, count);
            shared._meeting.SignalAndWait();
        }

        public void Barrier() => shared._meeting.SignalAndWait();

        public void Abort(int exitCode) => throw new InvalidOperationException($"abort {exitCode}");

        public void Dispose()
        {
        }

        private void Add<T>(long count)
            where T : unmanaged, System.Numerics.INumber<T>
        {
            for (var at = 0L; at < count; at++)
            {
                var sum = T.Zero;
                foreach (var address in shared._addresses)
                    sum += ((T*)address)[at];
                foreach (var address in shared._addresses)
                    ((T*)address)[at] = sum;
            }
        }
    }
}
