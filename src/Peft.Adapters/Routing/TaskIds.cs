using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>How a router goes by the task of each row.</summary>
/// <param name="Count">How many tasks it knows, with ids from 0.</param>
/// <param name="Words">The router and the setting that makes it so, for messages.</param>
/// <param name="More">How to let it know more of them.</param>
public sealed record TaskRule(int Count, string Words, string More)
{
    /// <summary>Whether tasks count in training alone: later the router goes by the tokens.</summary>
    public bool InTrainingAlone { get; init; }
}

/// <summary>The tasks of a pass's rows, looked at before they choose anything.</summary>
internal static class TaskIds
{
    /// <summary>The task of every token.</summary>
    /// <remarks>Shapes: x [B, T, D] or [N, D], pass.TaskIds [B], or [B, T] for packed rows → [N] int64.</remarks>
    /// <param name="x">The projection's input.</param>
    /// <param name="pass">The pass.</param>
    /// <param name="path">The projection, for messages.</param>
    /// <param name="tasks">How many tasks there are.</param>
    /// <param name="why">What goes by task, and what else may be done.</param>
    /// <exception cref="TaskIdException">Ids are missing, or name no task.</exception>
    public static Tensor OfTokens(Tensor x, ForwardPass pass, string path, int tasks, TaskWords why)
    {
        var ids = pass.TaskIds ?? throw TaskIdException.At(
            path, "the batch has no task ids", $"one for each row, since router {why.Router} routes by task",
            why.WithoutIds);
        Check(ids, pass, path, tasks, why);
        var tokens = x.numel() / x.shape[^1];
        var flat = ids.to(x.device).reshape(-1);
        if (tokens % flat.numel() != 0)
            throw TaskIdException.At(
                path, $"{flat.numel()} task ids for {tokens} tokens", "one for each row [B] or each token [B, T]");
        return flat.repeat_interleave(tokens / flat.numel(), 0);
    }

    private static void Check(Tensor ids, ForwardPass pass, string path, int tasks, TaskWords why)
    {
        // Looked at once a pass, not once a projection: reading the extremes waits for the device.
        if (pass.Records<CheckedTaskIds>().Any(seen => seen.Tasks == tasks))
            return;
        foreach (var id in new[] { ids.min().ToInt64(), ids.max().ToInt64() })
        {
            if (id < 0 || id >= tasks)
                throw TaskIdException.At(
                    path, $"task id {id}", $"0 to {tasks - 1}, {why.Each}",
                    $"{why.More} (now {tasks}), or take the task out of the data");
        }
        pass.Emit(new CheckedTaskIds(tasks));
    }

    private sealed record CheckedTaskIds(int Tasks);
}

/// <summary>How a router's messages speak of its tasks.</summary>
/// <param name="Router">The router and the setting that makes it go by task.</param>
/// <param name="WithoutIds">What to do where a batch has no task ids.</param>
/// <param name="Each">What there is one of for each task.</param>
/// <param name="More">How to have more of them.</param>
internal sealed record TaskWords(string Router, string WithoutIds, string Each, string More);

/// <summary>A row has no task id, or one that no expert stands for, where a router goes by task.</summary>
public sealed class TaskIdException : UserException
{
    private TaskIdException(string message)
        : base(message)
    {
    }

    /// <summary>The error in the house's form.</summary>
    internal static TaskIdException At(string place, string found, string? expected = null, string? advice = null) =>
        new(Fault.Text(place, found, expected, advice));
}
