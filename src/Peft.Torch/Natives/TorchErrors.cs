using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace Peft.Torch.Natives;

/// <summary>libtorch's errors, which TorchSharp throws as <see cref="ExternalException"/> with a page of C++ frames, in
/// words for people.</summary>
public static partial class TorchErrors
{
    /// <summary>What libtorch says went wrong, without where in its own code.</summary>
    public static string Words(ExternalException error)
    {
        var text = Frames().Split(error.Message, 2)[0];
        return Place().Replace(text, "").Trim();
    }

    /// <summary>What to do when memory ran out, on the host or on a device; null for any other error.</summary>
    public static string? MemoryAdvice(ExternalException error)
    {
        var words = Words(error);
        if (!OutOfMemory().IsMatch(words)) return null;
        var asked = Asked().Match(words) is { Success: true } match
            ? string.Create(
                CultureInfo.InvariantCulture,
                $"none left for {double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) / 1e9:0.#} GB more")
            : words.TrimEnd('.');
        return NativeLibraryException.Text("memory", asked, advice:
            "make training.per_device_train_batch_size or data.max_length smaller, "
            + "set training.gradient_checkpointing: true or model.dtype: bfloat16, or use a smaller base "
            + "(peft train RECIPE --dry-run estimates what a run needs)");
    }

    // "...\nException raised from meta at x.cpp:204 (most recent call first):\nframe #0: ..."
    [GeneratedRegex(@"\n(Exception raised from|frame #\d+:)")]
    private static partial Regex Frames();

    // "[enforce fail at alloc_cpu.cpp:127] err == 0. "
    [GeneratedRegex(@"^\[enforce fail at [^\]]*\] [^.]*\. ")]
    private static partial Regex Place();

    [GeneratedRegex("out of memory|can't allocate memory", RegexOptions.IgnoreCase)]
    private static partial Regex OutOfMemory();

    [GeneratedRegex(@"tried to allocate (\d+) bytes")]
    private static partial Regex Asked();
}
