using System.Globalization;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Models;

namespace Peft.Cli.Verbs;

/// <summary>Logits of given ids as JSON: the parity check against any other implementation.</summary>
[Verb("logits", HelpText = "Write logits as JSON, to compare with other programs.")]
public sealed class LogitsVerb : ModelVerb, IVerb
{
    /// <summary>The ids.</summary>
    [Option("ids", Required = true, MetaValue = "1,2,3", HelpText = "Token ids, separated by commas.")]
    public string Ids { get; set; } = "";

    /// <summary>Where to write.</summary>
    [Option("output", Required = true, MetaValue = "FILE.json", HelpText =
        "File to write: {\"shape\": [T, V], \"logits\": [[...]]}.")]
    public string OutputFile { get; set; } = "";

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var ids = ParseIds();
        using var loaded = Load();
        var task = TaskIdIn(loaded);
        loaded.Model.Config.CheckIds(ids.Select(id => (int)id));
        if (ids.Length > loaded.Model.Config.MaxPositionEmbeddings)
            throw UserException.At(
                "--ids", Words.Count(ids.Length, "id"),
                $"at most {loaded.Model.Config.MaxPositionEmbeddings}, the length of the model's context");
        using var scope = torch.NewDisposeScope();
        using var frozen = torch.no_grad();
        var input = torch.tensor(ids, [1, ids.Length], device: loaded.Model.Device);
        var pass = ForwardPass.ForInference(taskIds: ForwardPass.TaskIdsOf(task, 1, loaded.Model.Device));
        var logits = loaded.Model.Forward(input, pass).to(ScalarType.Float32).to(torch.CPU);
        var (T, V) = (logits.shape[1], logits.shape[2]); // of [1, T, V]
        var values = logits.Values<float>();
        if (!values.All(float.IsFinite))
            throw UserException.At(
                loaded.BaseDirectory, "its logits are NaN or infinite", null,
                $"the weights of the base or of the adapter are damaged, or overflow in {loaded.Model.Dtype}; "
                + "try --dtype float32");
        AtomicFile.Write(OutputFile, stream =>
        {
            using var writer = new StreamWriter(stream, leaveOpen: true) { NewLine = "\n" };
            writer.Write($"{{\"shape\":[{T},{V}],\"logits\":[");
            for (var t = 0; t < T; t++)
            {
                writer.Write(t == 0 ? "[" : ",\n[");
                for (var v = 0; v < V; v++)
                {
                    if (v > 0)
                        writer.Write(',');
                    writer.Write(values[t * V + v].ToString("R", CultureInfo.InvariantCulture));
                }
                writer.Write(']');
            }
            writer.WriteLine("]}");
        });
        output.Say($"{OutputFile}: logits [{T}, {V}]");
        return ExitCode.Done;
    }

    private long[] ParseIds()
    {
        var parts = Ids.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (parts.Length == 0)
            throw UserException.At("--ids", "no id", "token ids separated by commas, such as 1,15,7");
        return [.. parts.Select(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var id)
            ? (long)id
            : throw UserException.At(
                "--ids", $"{Quote.Of(part)} is not a token id", "whole numbers separated by commas"))];
    }
}
