using Peft.Data;

namespace Peft.Cli.Printing;

/// <summary>What is known of a run's training data before its first step, in one line.</summary>
internal static class DataSummary
{
    /// <summary>The line.</summary>
    public static string Of(TrainingData data, DataOptions options)
    {
        if (!data.IsStreaming)
        {
            var all = data.Train.Statistics;
            return $"{all.Sequences:N0} sequences, {all.Tokens:N0} tokens, {all.LearnedTokens:N0} learned";
        }
        var count = data.TrainCount is { } known ? $"{known:N0} sequences" : $"number of sequences unknown ({data.WhyUnknown})";
        return $"streamed in blocks of {options.ShuffleBufferSize:N0} rows: {count}, tokens unknown, and the longest row (taken as max_length {options.MaxLength})";
    }
}
