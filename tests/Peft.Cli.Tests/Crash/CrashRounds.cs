using Peft.Cli.Tests.Support;
using Peft.Training.Checkpoints;

namespace Peft.Cli.Tests.Crash;

/// <summary>
/// Kills training again and again, continues it, and compares what comes out with a run that nobody killed. After every
/// kill
/// everything on the disk that calls itself complete must verify.
/// </summary>
/// <remarks>
/// A life is a folder from its first run to its last. The first kill of a life is taken from a list with one entry for
/// every
/// file that a whole run renames into place: just before that rename. The others are random: at any call that changes
/// the
/// disk (a write is cut in half every other time), by SIGKILL, SIGINT or SIGTERM; or, when asked for, at any time at
/// all. A
/// life that is over may go on with another logging_steps, which a continued run may change, or be begun anew with
/// --overwrite.
/// </remarks>
internal sealed class CrashRounds : IDisposable
{
    private const int Steps = 8;
    private const string Output = "out";

    private readonly TempFolder _folder = new();
    private readonly Random _random;
    private readonly Action<string> _tell;
    private readonly bool _isTimed;
    private readonly Dictionary<int, TrainedFolder> _whole = [];
    private readonly List<DiskCall> _calls;
    private readonly Queue<DiskCall> _renames;
    private readonly TimeSpan _duration;
    private bool _hasBundle;
    private bool _isFinished;

    /// <summary>Makes the runs to compare with.</summary>
    /// <param name="seed">Decides every kill but the timed ones.</param>
    /// <param name="isTimed">Whether some kills come at a time instead of at a call.</param>
    /// <param name="tell">Gets a line for each kill.</param>
    public CrashRounds(int seed, bool isTimed, Action<string> tell)
    {
        (_random, _isTimed, _tell) = (new Random(seed), isTimed, tell);
        // Dropout, a router, evaluations and the best checkpoint: everything that could break an exact continuation.
        _folder.Write("r.yaml", TinyBase.RecipeWithHeldRows(
            "{method: mixture, r: 2, lora_dropout: 0.2, experts: {count: 2}, router: {kind: top-k, top_k: 1}}",
            $"{{per_device_train_batch_size: 2, max_steps: {Steps}, learning_rate: 0.01, save_steps: 3, eval_steps: 4, "
            + $"load_best_model_at_end: true}}",
            "evaluation: {base: false, tasks: [{task: held, rows: 1, max_new_tokens: 1}]}", 2));
        var started = DateTime.UtcNow;
        _calls = Whole(logging: 1);
        _duration = DateTime.UtcNow - started;
        Whole(logging: 2);
        var renames = _calls.Where(call => call.Name == "rename").DistinctBy(call => call.Path).ToArray();
        _random.Shuffle(renames);
        _renames = new(renames);
    }

    /// <summary>Renames that no life has been begun with.</summary>
    public int RenamesLeft => _renames.Count;

    private string Folder => _folder[Output];

    /// <summary>Kills so many times, then lets the last run end.</summary>
    public void Run(int kills)
    {
        for (var done = 0; done < kills;)
        {
            var logging = _random.Next(1, 3);
            var isNew = !Directory.Exists(Folder);
            var words = isNew ? [] : Words();
            var strike = isNew && _renames.TryDequeue(out var rename) ? new Strike(rename.Number) : RandomStrike();
            var isKilled = Struck(logging, strike, words, out var how);
            if (isKilled)
                _tell($"{++done,4} {how}");
            else
                _tell("     ended before it was struck: the same bytes");
            if (!isKilled && _random.Next(3) > 0)
                Remove();
        }
        if (Directory.Exists(Folder))
            Assert.False(Struck(1, Strike.None, Words(), out _));
        Remove();
    }

    public void Dispose() => _folder.Dispose();

    private void Remove()
    {
        if (Directory.Exists(Folder))
            Directory.Delete(Folder, recursive: true);
        (_hasBundle, _isFinished) = (false, false);
    }

    // A bundle whose checkpoints an interrupted --overwrite has removed can only be replaced.
    private string[] Words()
    {
        var isReplaced = _hasBundle && (new CheckpointStore(Folder).Latest() is null || _random.Next(4) == 0);
        if (isReplaced)
            (_hasBundle, _isFinished) = (false, false);
        return isReplaced ? ["--overwrite"] : ["--resume", "auto"];
    }

    private Strike RandomStrike() => _random.Next(_isTimed ? 5 : 4) switch
    {
        0 => new Strike(NextCall("rename"), "rename"),
        1 or 2 => new Strike(NextCall(""), IsTorn: _random.Next(2) == 0),
        3 => new Strike(NextCall(""), Signal: _random.Next(2) == 0 ? PeftProcess.Interrupt : PeftProcess.Terminate),
        _ => Strike.None with
        {
            Signal = new[] { PeftProcess.KillNow, PeftProcess.Interrupt,
            PeftProcess.Terminate }[_random.Next(3)]
        },
    };

    // A continued run makes fewer calls than a whole one, one that finds all steps done only those of the end.
    private int NextCall(string name)
    {
        var calls = _isFinished
            ? _calls[_calls.FindLastIndex(call => call is { Name: "rename", Path: "checkpoint-N.tmp-N" })..] : _calls;
        var share = _random.NextDouble();
        return 1
            + (int)(calls.Count(call => name.Length == 0 || call.Name == name) * (_isFinished ? share : share * share));
    }

    // One run that may be killed; true when it was. Either way what it leaves is checked.
    private bool Struck(int logging, Strike strike, string[] words, out string how)
    {
        var log = _folder["calls.log"];
        File.Delete(log);
        var isTimed = strike is { At: 0 } && strike != Strike.None;
        var wait = isTimed ? _duration * _random.NextDouble() : TimeSpan.Zero;
        using var process = Start(logging, Output, CrashLibrary.Watch(Folder, log, strike), words);
        if (isTimed)
        {
            Thread.Sleep(wait);
            process.TrySend(strike.Signal);
        }
        var run = process.Wait();
        var last = CrashLibrary.Read(log, Folder).LastOrDefault(call => strike.At == 0 || call.Number <= strike.At);
        how = $"signal {strike.Signal,2} {(isTimed ? $"after {wait.TotalSeconds:F2} s, last" : "at")} "
            + $"{last}{(strike.IsTorn ? " (torn)" : "")} [{string.Join(' ', words)}]";
        try
        {
            Assert.True(run.ExitCode is 0 or 130 or 137 or 143, $"exit code {run.ExitCode}");
            Assert.DoesNotContain("Exception", run.Error);
            if (run.ExitCode == 0)
                _whole[logging].AssertSame(Folder);
            var hasBundle = Directory.Exists(Folder) && TrainedFolder.AssertIntact(Folder);
            Assert.True(hasBundle || !_hasBundle, "the bundle is gone");
            _hasBundle = hasBundle;
            _isFinished = run.ExitCode == 0;
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            throw new InvalidOperationException($"{how}: {error.Message}\n{run.Error}", error);
        }
        return run.ExitCode != 0;
    }

    private PeftProcess Start(int logging, string output, Surroundings surroundings, params string[] words) =>
        PeftProcess.Start(
        _folder, surroundings,
        ["train", "r.yaml", "--output", output, "--set", $"training.logging_steps={logging}", .. words]);

    private List<DiskCall> Whole(int logging)
    {
        // Results are named by their folder, which is out in every life of a run that is killed.
        var (output, log) = ($"whole-{logging}/out", _folder[$"whole-{logging}.log"]);
        using var process = Start(logging, output, CrashLibrary.Watch(_folder[output], log, Strike.None));
        process.Wait().Succeeds();
        _whole[logging] = TrainedFolder.Read(_folder[output]);
        return CrashLibrary.Read(log, _folder[output]);
    }
}
