using Peft.Formats;

namespace Peft.Adapters.Routing;

/// <summary>A row has no task id, or one that no expert stands for, where a router goes by task.</summary>
public sealed class TaskIdException : UserException
{
    /// <summary>Makes the exception with a message that names place, finding and remedy.</summary>
    public TaskIdException(string message)
        : base(message)
    {
    }
}
