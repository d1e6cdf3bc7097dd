namespace Peft.Torch;

/// <summary>Kinds of devices, with the numbers libtorch gives them.</summary>
public enum DeviceType
{
    /// <summary>The host.</summary>
    CPU = 0,

    /// <summary>An NVIDIA GPU.</summary>
    CUDA = 1,
}

/// <summary>Where a tensor lies.</summary>
/// <param name="type">The kind.</param>
/// <param name="index">Which one; -1 for the host.</param>
public sealed record Device(DeviceType type, int index = -1)
{
    /// <summary>Reads <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    /// <exception cref="ArgumentException">Anything else.</exception>
    public static Device Parse(string text)
    {
        if (text == "cpu") return new Device(DeviceType.CPU);
        if (text == "cuda") return new Device(DeviceType.CUDA, 0);
        if (text.StartsWith("cuda:", StringComparison.Ordinal)
            && int.TryParse(text.AsSpan(5), System.Globalization.NumberStyles.None, null, out var number))
        {
            return new Device(DeviceType.CUDA, number);
        }

        throw new ArgumentException($"device - '{text}' - allowed: cpu, cuda, cuda:N - name one of them");
    }

    /// <summary>The text <see cref="Parse"/> reads.</summary>
    public override string ToString() => type == DeviceType.CPU ? "cpu" : $"cuda:{Math.Max(index, 0)}";
}
