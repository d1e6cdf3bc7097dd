using System.Runtime.InteropServices;
using System.Text.Json;
using Peft.Cli.Printing;
using Peft.Distributed;
using Peft.Distributed.Mpi;
using Peft.Formats;
using Peft.Recipes;
using Peft.Training;

namespace Peft.Cli.Verbs;

/// <summary>A verb that several processes can do together.</summary>
public interface IRankedVerb : IVerb
{
    /// <summary>Does this rank's part and returns the exit code of all.</summary>
    int Run(Output output, RankGroup group);
}

/// <summary>Runs a verb in one of the processes that mpirun or srun started.</summary>
/// <remarks>What goes wrong is told once: what all ranks know by the first; what one meets alone by that one, which
/// then ends all.</remarks>
internal static class RankedProgram
{
    // So long a rank waits before it tells what the first may be telling too: then it is ended before it speaks.
    private static readonly TimeSpan FirstSpeaks = TimeSpan.FromSeconds(1);

    /// <summary>Runs the verb.</summary>
    /// <param name="verb">The verb.</param>
    /// <param name="name">Its name, for messages.</param>
    /// <param name="launch">What the launcher said; more than one rank.</param>
    /// <param name="output">Where this process writes.</param>
    /// <returns>The exit code.</returns>
    public static int Run(IVerb verb, string name, Launch launch, Output output)
    {
        MpiCommunicator ranks;
        try
        {
            if (verb is not IRankedVerb)
                throw UserException.At(
                    $"peft {name}", $"started as {Words.Count(launch.Size, "rank")} by {launch.Launcher}",
                    "one process: ranks share train, eval and merge alone", "start it without the launcher");
            ranks = MpiCommunicator.Join(launch);
        }
        catch (Exception error) when (error is UserException or CommunicationException)
        {
            if (launch.Rank > 0)
                Thread.Sleep(FirstSpeaks);
            Tell(error, launch, output);
            return error is UserException ? ExitCode.UserMistake : ExitCode.Failure;
        }
        return Run((IRankedVerb)verb, launch, ranks, output);
    }

    private static int Run(IRankedVerb verb, Launch launch, MpiCommunicator ranks, Output output)
    {
        using var continuation = new Continuation();
        try
        {
            var group = new RankGroup(launch, ranks, Seat.Of(ranks));
            if (verb.UsesTensors)
                group.StartTensors();
            var code = verb.Run(ranks.IsFirst() ? output : output.Muted(), group);
            ranks.Dispose();
            return code;
        }
        catch (Exception error) when (error is AgreedException or NonFiniteLossException or OperationCanceledException)
        {
            var (text, code) = Failures.Describe(error);
            if (ranks.IsFirst())
                output.Error(text);
            ranks.Dispose();
            return code;
        }
        catch (Exception error)
        {
            if (!ranks.IsFirst() && error is not CommunicationException)
                Thread.Sleep(FirstSpeaks);
            // Who was stopped for so long that the others gave up is told of by those.
            if (error is not CommunicationException || !ranks.IsLate || !continuation.IsSeen)
                Tell(error, launch, output);
            ranks.Abort(Failures.Describe(error).ExitCode);
            throw;
        }
    }

    private static void Tell(Exception error, Launch launch, Output output) => output.Error(
        $"{Communication.Named([launch.Rank], Enumerable.Repeat(Environment.MachineName, launch.Size).ToList())}: "
            + Failures.Describe(error).Text);
}

/// <summary>Whether this process was stopped and let go on. Launchers let all go on that they are about to
/// end.</summary>
internal sealed class Continuation : IDisposable
{
    private readonly PosixSignalRegistration _registration;
    private volatile bool _isSeen;

    /// <summary>Listens until disposed.</summary>
    public Continuation() =>
        _registration = OperatingSystem.IsWindows() ? throw new PlatformNotSupportedException()
            : PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => _isSeen = true);

    /// <summary>Whether it was.</summary>
    public bool IsSeen => _isSeen;

    /// <inheritdoc/>
    public void Dispose() => _registration.Dispose();
}

/// <summary>Pieces of work that do not depend on each other, each done by one of the ranks.</summary>
internal static class SharedWork
{
    /// <summary>Does all pieces and tells of them in their order.</summary>
    /// <param name="ranks">All; with one rank each piece is told of as it is done.</param>
    /// <param name="count">How many pieces.</param>
    /// <param name="work">Does a piece, given its number and where it is told of; returns whether it counts.</param>
    /// <param name="output">Where this process writes.</param>
    /// <returns>Whether each piece counts, known to all ranks.</returns>
    public static IReadOnlyList<bool> Do(ICommunicator ranks, int count, Func<int, Output, bool> work, Output output)
    {
        if (!ranks.IsShared())
            return [.. Enumerable.Range(0, count).Select(piece => work(piece, output))];
        var own = ranks.Together(
            () => Enumerable.Range(0, count).Where(piece => piece % ranks.Size == ranks.Rank).Select(piece =>
            {
                var (results, words) = (new StringWriter(), new StringWriter());
                using var aside = new Output(results, words);
                return new Told(piece, work(piece, aside), results.ToString(), words.ToString());
            }).ToList(),
            Failures.Describe);
        List<Told> all = [.. ranks.Texts(JsonSerializer.Serialize(own))
            .SelectMany(text => JsonSerializer.Deserialize<List<Told>>(text)!).OrderBy(told => told.Piece)];
        foreach (var told in all)
        {
            output.SayPart(told.Words);
            output.ResultPart(told.Results);
        }
        return [.. all.Select(told => told.Counts)];
    }

    private sealed record Told(int Piece, bool Counts, string Results, string Words);
}
