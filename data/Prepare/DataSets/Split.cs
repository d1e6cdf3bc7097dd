using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Peft.Prepare.DataSets;

/// <summary>How many of the keys are held out; which ones is decided by their hash alone.</summary>
/// <param name="Validation">Percent of the keys that go to validation.</param>
/// <param name="Test">Percent of the keys that go to test.</param>
internal readonly record struct Split(int Validation, int Test)
{
    public const string Train = "train";

    private const string ValidationName = "validation";
    private const string TestName = "test";

    /// <summary>The splits that there are.</summary>
    public IReadOnlyList<string> Names => Test > 0 ? [Train, ValidationName, TestName] : [Train, ValidationName];

    /// <summary>The split of a key: rows of one key never stand in two.</summary>
    public string Of(string key)
    {
        var place = Hash(key) % 100;
        if (place < Validation)
            return ValidationName;
        return place < Validation + Test ? TestName : Train;
    }

    /// <summary>The first 4 bytes of SHA-256 of the UTF-8 text, big endian.</summary>
    public static uint Hash(string text) => BinaryPrimitives.ReadUInt32BigEndian(Digest(text));

    /// <summary>
    /// SHA-256 of the UTF-8 text in hexadecimal: in the order of these a prefix of rows is a fair sample.
    /// </summary>
    public static string OrderOf(string text) => Convert.ToHexStringLower(Digest(text));

    private static byte[] Digest(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
