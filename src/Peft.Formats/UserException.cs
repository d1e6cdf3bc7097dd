namespace Peft.Formats;

/// <summary>
/// A mistake of the person who runs the program: a bad file, key, path or value. The program prints
/// <see cref="Exception.Message"/> without a stack trace and exits 2. Every typed user error derives from it.
/// </summary>
public class UserException : Exception
{
    /// <summary>Makes the error with its full text: place, what was found, what is allowed, what to do.</summary>
    public UserException(string message)
        : base(message)
    {
    }

    /// <summary>The same, keeping the error that was met underneath.</summary>
    public UserException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>The error in the house's form; see <see cref="Fault"/> for the parts.</summary>
    public static UserException At(
        string place, string found, string? expected = null, string? advice = null, Exception? inner = null)
    {
        var message = Fault.Text(place, found, expected, advice);
        return inner is null ? new UserException(message) : new UserException(message, inner);
    }
}
