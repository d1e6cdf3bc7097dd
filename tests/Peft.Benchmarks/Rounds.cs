using System.Diagnostics;

namespace Peft.Benchmarks;

/// <summary>Measures several things in turns: each round runs every one once.</summary>
internal static class Rounds
{
    // Shorter runs are repeated within their turn, or the clock and the scheduler would be what is measured.
    private static readonly TimeSpan ShortestTurn = TimeSpan.FromMilliseconds(60);

    /// <summary>Seconds of one call, by action and round; the first calls are not counted.</summary>
    public static double[][] Seconds(int rounds, params Action[] actions)
    {
        var repeats = actions.Select(WarmUp).ToArray();
        var seconds = actions.Select(_ => new double[rounds]).ToArray();
        for (var round = 0; round < rounds; round++)
        {
            for (var i = 0; i < actions.Length; i++)
                seconds[i][round] = Time(actions[i], repeats[i]);
        }
        return seconds;
    }

    // Two calls: the first compiles and fills caches, the second says how often to repeat.
    private static int WarmUp(Action action)
    {
        action();
        var once = Time(action, 1);
        return (int)Math.Clamp(Math.Ceiling(ShortestTurn.TotalSeconds / Math.Max(once, 1e-9)), 1, 10_000);
    }

    private static double Time(Action action, int times)
    {
        var started = Stopwatch.GetTimestamp();
        for (var i = 0; i < times; i++)
            action();
        return Stopwatch.GetElapsedTime(started).TotalSeconds / times;
    }
}
