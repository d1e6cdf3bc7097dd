namespace Peft.Formats;

/// <summary>Several user's mistakes told at once; made by <see cref="Faults.ThrowIfAny"/>.</summary>
public sealed class FaultsException : UserException
{
    internal FaultsException(string message, IReadOnlyList<Fault> items)
        : base(message) => Items = items;

    /// <summary>The faults behind the message.</summary>
    public IReadOnlyList<Fault> Items { get; }
}
