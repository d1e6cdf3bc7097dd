using System.Security.Cryptography;
using System.Text;
using Peft.Formats.Safetensors;

namespace Peft.Models.Loading;

/// <summary>A name for a checkpoint's content: equal however it is sharded and however its config.json is
/// spelled.</summary>
public static class CheckpointFingerprint
{
    private const int BlockSize = 1 << 20;
    private const int ShownDigits = 12;

    /// <summary>As people are shown it: enough of it to tell any two apart.</summary>
    public static string Short(string fingerprint) => fingerprint[..Math.Min(ShownDigits, fingerprint.Length)];

    /// <summary>SHA-256, as lower-case hex, over the config's essentials (<c>ModelConfig.Essentials</c>) and every
    /// tensor's name, type, shape and bytes.</summary>
    public static string Of(string essentials, SafetensorsCheckpoint checkpoint, Func<string, bool> isIgnored)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(essentials + "\n"));
        var block = new byte[BlockSize];
        foreach (var entry in checkpoint.Entries.Values.OrderBy(entry => entry.Name, StringComparer.Ordinal))
        {
            if (isIgnored(entry.Name))
                continue;
            hash.AppendData(Encoding.UTF8.GetBytes($"{entry.Name} {entry.Dtype} [{string.Join(",", entry.Shape)}]\n"));
            AppendBytes(hash, entry, block);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Whether two tensors have one type, shape and bytes.</summary>
    internal static bool SaysTheSame(SafetensorsEntry one, SafetensorsEntry other)
    {
        if (one.Dtype != other.Dtype || !one.Shape.SequenceEqual(other.Shape))
            return false;
        return HashOf(one).SequenceEqual(HashOf(other));

        static byte[] HashOf(SafetensorsEntry entry)
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            AppendBytes(hash, entry, new byte[BlockSize]);
            return hash.GetHashAndReset();
        }
    }

    private static void AppendBytes(IncrementalHash hash, SafetensorsEntry entry, byte[] block)
    {
        using var file = new FileStream(entry.FilePath, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        file.Position = entry.Offset;
        for (var left = entry.ByteCount; left > 0;)
        {
            var part = block.AsSpan(0, (int)Math.Min(left, block.Length));
            file.ReadExactly(part);
            hash.AppendData(part);
            left -= part.Length;
        }
    }
}
