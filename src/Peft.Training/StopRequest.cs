namespace Peft.Training;

/// <summary>Asks a running loop to save and return after the step it is in; set by a signal handler.</summary>
public sealed class StopRequest
{
    private volatile bool _requested;

    /// <summary>Whether stopping was asked for.</summary>
    public bool IsRequested => _requested;

    /// <summary>Asks for the stop; safe from any thread.</summary>
    public void Request() => _requested = true;
}
