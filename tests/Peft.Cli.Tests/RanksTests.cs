using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>Training and evaluation in several processes, with each MPI that is there.</summary>
public sealed class RanksTests : IDisposable
{
    // Both experts work for each token: chosen ones would hang on the last bit where two are nearly equal.
    private const string Adapter =
        "{method: mixture, r: 2, lora_dropout: 0.1, experts: {count: 2}, router: {kind: top-k, top_k: 2, "
            + "balance: {kind: switch, coefficient: 0.01}}}";

    // While Open MPI ends its ranks it takes in nothing that they say: a pipe that is full would hold them up.
    private const string Long =
        "{per_device_train_batch_size: 4, max_steps: 100000, logging_steps: 6, save_steps: 4, report_to: none}";

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [MpiFact(MpiRun.OpenMpi)]
    public void Two_and_four_ranks_of_Open_MPI_train_and_measure_as_one_process_does() =>
        TrainsAndMeasures(MpiRun.OpenMpi);

    [MpiFact(MpiRun.Mpich)]
    public void Two_and_four_ranks_of_MPICH_train_and_measure_as_one_process_does() => TrainsAndMeasures(MpiRun.Mpich);

    [MpiFact(MpiRun.OpenMpi)]
    public void Ctrl_C_under_Open_MPI_stops_all_after_saving() => StopsAll(MpiRun.OpenMpi);

    [MpiFact(MpiRun.Mpich)]
    public void Ctrl_C_under_MPICH_stops_all_after_saving() => StopsAll(MpiRun.Mpich);

    [MpiFact(MpiRun.OpenMpi)]
    public void Merges_of_two_ranks_of_Open_MPI_are_those_of_one_process() => Merges(MpiRun.OpenMpi);

    [MpiFact(MpiRun.Mpich)]
    public void Merges_of_two_ranks_of_MPICH_are_those_of_one_process() => Merges(MpiRun.Mpich);

    [MpiFact(MpiRun.OpenMpi)]
    public void Ranks_of_Open_MPI_with_different_recipes_are_found_out() => FindsOut(MpiRun.OpenMpi);

    [MpiFact(MpiRun.Mpich)]
    public void Ranks_of_MPICH_with_different_recipes_are_found_out() => FindsOut(MpiRun.Mpich);

    [MpiFact(MpiRun.OpenMpi)]
    public void A_signal_to_one_rank_of_Open_MPI_stops_all_after_saving() => Stops(MpiRun.OpenMpi);

    [MpiFact(MpiRun.Mpich)]
    public void A_signal_to_one_rank_of_MPICH_stops_all_after_saving() => Stops(MpiRun.Mpich);

    [MpiFact(MpiRun.OpenMpi)]
    public void A_rank_of_Open_MPI_that_is_killed_ends_all_and_the_last_checkpoint_is_good() => Dies(MpiRun.OpenMpi);

    [MpiFact(MpiRun.Mpich)]
    public void A_rank_of_MPICH_that_is_killed_ends_all_and_the_last_checkpoint_is_good() => Dies(MpiRun.Mpich);

    [MpiFact(MpiRun.OpenMpi)]
    public void A_rank_of_Open_MPI_that_hangs_is_named_and_ends_all() => Hangs(MpiRun.OpenMpi);

    [MpiFact(MpiRun.Mpich)]
    public void A_rank_of_MPICH_that_hangs_is_named_and_ends_all() => Hangs(MpiRun.Mpich);

    [TwoHostsFact]
    public void Two_hosts_that_are_joined_by_TCP_alone_train_as_one_process_does()
    {
        _folder.Write("r.yaml", TinyBase.Recipe(
            Adapter, "{per_device_train_batch_size: 4, max_steps: 12, logging_steps: 1, report_to: none}"));
        PeftProcess.Run(
            _folder, "train", "r.yaml", "--output", "one", "--set", "model.dtype=float32").Succeeds();
        using var hosts = new TwoHosts(_folder);
        var run = PeftProcess.Run(_folder, hosts.Surroundings, "train", "r.yaml", "--output", "two", "--verbose",
            "--set", "model.dtype=float32").Succeeds();
        Assert.Contains($"rank 0 on {hosts.Names[0]}: ", run.Error);
        Assert.Contains($"rank 1 on {hosts.Names[1]}: ", run.Error);
        Assert.All(Losses("one").Zip(Losses("two"), (a, b) => Math.Abs(a - b)), gap => Assert.InRange(gap, 0, 1e-5));
        // The gradients of all steps went over the wire, there and back.
        var trained = Tensors("two").Sum(tensor => tensor.Value.Length * sizeof(float));
        Assert.InRange(hosts.BytesReceived(), 12L * trained / 2, long.MaxValue);
    }

    [MpiFact(MpiRun.OpenMpi)]
    public void A_mistake_in_the_recipe_is_told_once()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2, lora_alhpa: 3}", "{max_steps: 2}"));
        var run = PeftProcess.Run(_folder, MpiRun.Of(MpiRun.OpenMpi, 4), "train", "r.yaml", "--output", "out").Exits(2);
        Assert.Equal(2, run.Error.Split("lora_alhpa").Length);
        Assert.False(Directory.Exists(_folder["out"]));
    }

    [MpiFact(MpiRun.OpenMpi)]
    public void More_ranks_than_rows_and_verbs_of_one_process_are_refused()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2, per_device_train_batch_size: 2}"));
        var run = PeftProcess.Run(_folder, MpiRun.Of(MpiRun.OpenMpi, 3), "train", "r.yaml", "--output", "out").Exits(2);
        Assert.Contains("3 ranks for 2 rows of a step", run.Error);
        run = PeftProcess.Run(
            _folder, MpiRun.Of(MpiRun.OpenMpi, 2), "tokenize", "--tokenizer", TinyBase.Model).Exits(2);
        Assert.Contains("started as 2 ranks by mpirun of Open MPI; expected one process", run.Error);
    }

    [MpiFact(MpiRun.OpenMpi)]
    public void A_missing_MPI_is_named_with_what_to_install()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2}"));
        var run = PeftProcess.Run(_folder, MpiRun.Of(MpiRun.OpenMpi, 2, ("PEFT_MPI", "libnone.so")),
            "train", "r.yaml", "--output", "out").Exits(2);
        Assert.Contains("its MPI cannot be opened here (libnone.so", run.Error);
        Assert.Contains("apt-get install openmpi-bin", run.Error);
    }

    [Fact]
    public void Torchrun_is_refused_and_one_process_loads_no_MPI()
    {
        var run = PeftProcess.Run(_folder, new Surroundings
        {
            Variables = new Dictionary<string, string>
            {
                ["WORLD_SIZE"] = "2", ["RANK"] = "0", ["MASTER_ADDR"] = "localhost",
            },
        }, "doctor").Exits(2);
        Assert.Contains("WORLD_SIZE: 2 processes started by torchrun; expected ranks started by an MPI.", run.Error);
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", Long));
        using var running = PeftProcess.Start(_folder, new(), "train", "r.yaml", "--output", _folder["alone"]);
        running.WaitFor("step 6/");
        var process = Directory.GetDirectories("/proc").Select(Path.GetFileName).First(id => int.TryParse(id, out _)
            && IsPeft(id!, _folder["alone"]));
        Assert.DoesNotContain("libmpi", File.ReadAllText($"/proc/{process}/maps"));
        running.Send(PeftProcess.KillNow);
    }

    private static bool IsPeft(string id, string text)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/cmdline").Contains(text, StringComparison.Ordinal)
                && File.ReadAllText($"/proc/{id}/maps").Contains("libtorch_cpu", StringComparison.Ordinal);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private void TrainsAndMeasures(string launcher)
    {
        _folder.Write("r.yaml", Measured(Adapter,
            "{per_device_train_batch_size: 4, max_steps: 50, learning_rate: 0.005, save_steps: 20, report_to: none}"));
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "one", "--set", "model.dtype=float32").Succeeds();
        var (losses, results) = (Losses("one"), Scores("one/results.json"));
        foreach (var ranks in (int[])[2, 4])
        {
            var run = PeftProcess.Run(_folder, MpiRun.Of(launcher, ranks), "train", "r.yaml", "--output", $"{ranks}",
                "--set", "model.dtype=float32", "--verbose").Succeeds();
            Assert.All(Enumerable.Range(0, ranks), rank => Assert.Contains($"rank {rank} on ", run.Error));
            Assert.All(losses.Zip(Losses($"{ranks}"), (a, b) => Math.Abs(a - b)), gap => Assert.InRange(gap, 0, 1e-5));
            Assert.Equal(results, Scores($"{ranks}/results.json"));
            foreach (var (name, values) in Tensors("one"))
                Assert.InRange(
                    values.Zip(Tensors($"{ranks}")[name], (a, b) => Math.Abs(a - b)).DefaultIfEmpty().Max(), 0, 1e-4);
            // The same number of ranks gives the same bits.
            PeftProcess.Run(_folder, MpiRun.Of(launcher, ranks), "train", "r.yaml", "--output", $"{ranks}-again",
                "--set", "model.dtype=float32", "--set", "evaluation.tasks=[]").Succeeds();
            Assert.Equal(Weights($"{ranks}"), Weights($"{ranks}-again"));
            Assert.Contains("intact", PeftProcess.Run(_folder, "adapter", "verify", $"{ranks}").Succeeds().Output);
        }
        string[] eval = ["eval", "--adapter", "one", "--batch-size", "2", "--output"];
        PeftProcess.Run(_folder, [.. eval, "e1"]).Succeeds();
        PeftProcess.Run(_folder, MpiRun.Of(launcher, 2), [.. eval, "e2"]).Succeeds();
        Assert.Equal(Scores("e1/results.json"), Scores("e2/results.json"));
    }

    private void Stops(string launcher)
    {
        using var running = Started(launcher);
        Signal(1, PeftProcess.Interrupt);
        running.Wait().Exits(130).Says("interrupted after step", "re-run the same command with --resume auto");
        Continues();
    }

    // At a terminal the launcher gets the signal, and hands it on or ends its ranks by another.
    private void StopsAll(string launcher)
    {
        using var running = Started(launcher);
        running.Send(PeftProcess.Interrupt);
        running.Wait().Says("interrupted after step");
        Continues();
    }

    private void FindsOut(string launcher)
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2, per_device_train_batch_size: 4}"));
        var (all, words) = (MpiRun.Of(launcher, 2), (string[])["train", "r.yaml", "--output", "out"]);
        foreach (var (key, what) in new[]
                 {
                     ("learning_rate", "the recipe"),
                     ("logging_steps", "what the recipe says of logging, saving and evaluation"),
                 })
        {
            var run = PeftProcess.Run(_folder, all with
            {
                Prefix =
                [
                    .. all.Prefix, "sh", "-c",
                    $"exec \"$@\" --set training.{key}=1${{OMPI_COMM_WORLD_RANK-}}${{PMI_RANK-}}", "sh",
                ],
            }, words).Exits(2);
            Assert.Matches(
                $"rank 1 on .*: {what} differs \\([0-9a-f]{{12}}\\); expected that of rank 0 on ", run.Error);
            Assert.Equal(2, run.Error.Split("Start all ranks with the same files").Length);
            Assert.Empty(Directory.GetFileSystemEntries(_folder["out"])); // so that the right start finds it free
        }
    }

    private void Merges(string launcher)
    {
        _folder.Write("r.yaml", Measured("{r: 2}", "{max_steps: 3, learning_rate: 0.02, report_to: none}"));
        foreach (var seed in (string[])["1", "2"])
            PeftProcess.Run(_folder, "train", "r.yaml", "--output", $"a{seed}", "--set", $"training.seed={seed}",
                "--set", "evaluation.tasks=[]").Succeeds();
        string[] merge = ["merge", "--method", "all", "a1", "a2", "--recipe", "r.yaml", "--output"];
        var one = PeftProcess.Run(_folder, [.. merge, "one"]).Succeeds();
        var two = PeftProcess.Run(_folder, MpiRun.Of(launcher, 2), [.. merge, "two"]).Succeeds();
        Assert.Equal(one.Output, two.Output);
        var methods = Folders("one");
        Assert.True(methods.Length > 5);
        Assert.Equal(methods, Folders("two"));
        Assert.All(methods, method => Assert.Equal(Weights($"one/{method}"), Weights($"two/{method}")));
        Assert.Equal(
            one.Error.Split('\n').Count(line => line.Contains(": merged ")),
            two.Error.Split('\n').Count(line => line.Contains(": merged ")));
    }

    // A recipe whose rows are held out too and measured.
    private static string Measured(string adapter, string training) => TinyBase.Recipe(adapter, training,
        """
        evaluation:
          tasks: [{task: rows, metric: token_f1, max_new_tokens: 3}]
        """).Replace("training:", $$$"""
          eval:
            - {name: rows, files: {{{TinyBase.RowsFile}}}, template: {prompt: "{question}", answer: "{answer}"}}
        training:
        """);

    private void Dies(string launcher)
    {
        using var running = Started(launcher);
        Signal(1, PeftProcess.KillNow);
        Assert.NotEqual(0, running.Wait().ExitCode);
        Continues();
    }

    private void Hangs(string launcher)
    {
        const int Freeze = 19; // SIGSTOP
        using var running = Started(launcher, "--set", "training.ddp_timeout=3");
        Signal(1, Freeze);
        var run = running.Wait().Exits(1);
        Assert.Contains("ranks: after 3 seconds rank 1 on ", run.Error);
        Assert.Equal(2, run.Error.Split("ranks: after").Length); // by those that waited alone
        Continues();
    }

    private PeftProcess Started(string launcher, params string[] more)
    {
        _folder.Write("r.yaml", TinyBase.Recipe(Adapter, Long));
        var running = PeftProcess.Start(
            _folder, MpiRun.Of(launcher, 2), ["train", "r.yaml", "--output", _folder["out"], .. more]);
        running.WaitFor("step 6/");
        return running;
    }

    // One process goes on where the ranks ended.
    private void Continues()
    {
        using var running = PeftProcess.Start(
            _folder, new(), "train", "r.yaml", "--output", _folder["out"], "--resume", "auto");
        running.WaitFor("continuing after step");
        running.Send(PeftProcess.Terminate);
        running.Wait().Exits(130);
    }

    private void Signal(int rank, int signal) => Assert.Equal(
        0, PeftProcess.SendTo(MpiRun.ProcessOf(rank, _folder["out"]), signal));

    private double[] Losses(string output) =>
        [.. File.ReadLines(_folder[$"{output}/metrics.jsonl"]).Select(line => JsonDocument.Parse(line).RootElement)
            .Where(line => line.TryGetProperty("loss", out _)).Select(line => line.GetProperty("loss").GetDouble())];

    private string[] Folders(string output) =>
        [.. Directory.GetDirectories(_folder[output]).Select(path => Path.GetFileName(path)).Order()];

    private byte[] Weights(string output) => [.. Directory.GetFiles(_folder[output], "*.safetensors")
        .Order(StringComparer.Ordinal).SelectMany(File.ReadAllBytes)];

    // Source: the safetensors format: 8 bytes of length, a header in JSON, the numbers.
    private Dictionary<string, float[]> Tensors(string output)
    {
        var bytes = Weights(output);
        var start = 8 + (int)BitConverter.ToInt64(bytes);
        return JsonDocument.Parse(bytes.AsMemory(8, start - 8)).RootElement.EnumerateObject()
            .Where(tensor => tensor.Name != "__metadata__" && tensor.Value.GetProperty("dtype").GetString() == "F32")
            .ToDictionary(tensor => tensor.Name, tensor =>
            {
                var ends = tensor.Value.GetProperty("data_offsets");
                var (from, to) = (ends[0].GetInt32(), ends[1].GetInt32());
                return MemoryMarshal.Cast<byte, float>(bytes.AsSpan(start + from, to - from)).ToArray();
            });
    }

    private List<string> Scores(string file) =>
        [.. JsonDocument.Parse(File.ReadAllText(_folder[file])).RootElement.GetProperty("scores").EnumerateArray()
            .Select(score => score.GetProperty("value").GetDouble().ToString("R", CultureInfo.InvariantCulture))];
}
