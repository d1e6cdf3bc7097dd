using System.Security.Cryptography;
using System.Text;
using Peft.Distributed;
using Peft.Formats;

namespace Peft.Training.Ranks;

/// <summary>Finds out before the first step that ranks would not train the same: on two machines files, recipes and
/// versions may differ.</summary>
public static class Handshake
{
    /// <summary>Compares what must be the same.</summary>
    /// <param name="ranks">All.</param>
    /// <param name="own">What this rank has, with its name; the names are the same on all.</param>
    /// <exception cref="AgreedException">Something differs; the message names it, and the ranks.</exception>
    public static void Compare(ICommunicator ranks, IReadOnlyList<(string Name, string Value)> own)
    {
        var text = string.Join('\n', own.Select(pair => $"{pair.Name}\t{pair.Value}"));
        if (!ranks.IsShared() || !ranks.Any(text != ranks.TextOfFirst(text)))
            return;
        var all = ranks.Texts(text).Select(lines =>
            lines.Split('\n').Select(line => line.Split('\t')).ToList()).ToList();
        var hosts = ranks.Texts(Environment.MachineName);
        var faults = new List<string>();
        for (var at = 0; at < all[0].Count; at++)
        {
            var first = all[0][at];
            List<int> others = [.. all.Index().Where(rank => rank.Item[at][1] != first[1]).Select(rank => rank.Index)];
            if (others.Count > 0)
                faults.Add(Fault.Text(
                    Communication.Named(others, hosts),
                    $"{first[0]} {(first[0].EndsWith('s') ? "differ" : "differs")} ({all[others[0]][at][1]})",
                    $"that of rank 0 on {hosts[0]} ({first[1]})"));
        }
        throw new AgreedException(
            string.Join('\n', faults)
                + "\nStart all ranks with the same files and the same version of the program.", 2);
    }

    /// <summary>A text, short enough to be told.</summary>
    public static string Short(string text) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..12];

    /// <summary>A hash of the names and bits of tensors.</summary>
    public static string HashOf(IEnumerable<(string Name, Tensor Tensor)> tensors)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (name, tensor) in tensors)
        {
            using var scope = torch.NewDisposeScope();
            hash.AppendData(Encoding.UTF8.GetBytes(name));
            hash.AppendData(tensor.detach().to(torch.CPU).contiguous().ToBytes());
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
