using System.Buffers.Binary;
using Google.Protobuf;
using Peft.Formats.Files;

namespace Peft.Training.Metrics;

/// <summary>Writes TensorBoard event files (scalars), so that <c>tensorboard --logdir DIR</c> shows a run.</summary>
/// <remarks>
/// Source: TensorFlow's record format (u64 length, masked CRC-32C of it, data, masked CRC-32C of the data) and the
/// messages Event {double wall_time=1; int64 step=2; string file_version=3; Summary summary=5; SessionLog session_log=7},
/// Summary {repeated Value value=1}, Value {string tag=1; float simple_value=2}, SessionLog {enum status=1}.
/// </remarks>
public sealed class TensorBoardSink(string directory, TimeProvider clock) : IMetricSink
{
    private const int SessionStart = 1;
    private FileStream? _stream;
    private string _path = "";

    /// <inheritdoc/>
    public void Start(int afterStep, int totalSteps)
    {
        Directory.CreateDirectory(directory);
        // A resumed run adds a file whose name sorts after the earlier ones; TensorBoard joins them.
        var seconds = clock.GetUtcNow().ToUnixTimeSeconds();
        _path = Path.Combine(directory, $"events.out.tfevents.{seconds:D10}.step{afterStep:D8}.peft");
        _stream = new FileStream(_path, FileMode.Create, FileAccess.Write);
        WriteRecord(Event(0, output =>
        {
            output.WriteTag(3, WireFormat.WireType.LengthDelimited);
            output.WriteString("brain.Event:2");
        }));
        if (afterStep == 0)
            return;
        // The start of a session: TensorBoard then drops what earlier files hold of this step and later ones.
        var sessionLog = Message(output =>
        {
            output.WriteTag(1, WireFormat.WireType.Varint);
            output.WriteEnum(SessionStart);
        });
        WriteRecord(Event(afterStep + 1, output =>
        {
            output.WriteTag(7, WireFormat.WireType.LengthDelimited);
            output.WriteBytes(ByteString.CopyFrom(sessionLog));
        }));
    }

    /// <inheritdoc/>
    public void Write(StepReport report)
    {
        var values = new List<(string, double)>
        {
            ("train/loss", report.Loss), ("train/aux", report.Aux), ("train/learning_rate", report.LearningRate),
            ("train/grad_norm", report.GradNorm), ("train/tokens_per_second", report.TokensPerSecond),
        };
        values.AddRange(report.Load.Select((share, expert) => ($"routing/load/expert_{expert}", share)));
        foreach (var module in report.Routing)
        {
            if (module.Entropy is { } entropy)
                values.Add(($"routing/entropy/{module.Module}", entropy));
            values.Add(($"routing/effective_support/{module.Module}", module.EffectiveSupport));
            values.Add(($"routing/load_support/{module.Module}", module.LoadSupport));
            values.Add(($"routing/experts_per_token/{module.Module}", module.ExpertsPerToken));
            values.Add(($"routing/dead_experts/{module.Module}", module.DeadExperts));
        }
        WriteScalars(report.Step, values);
    }

    /// <inheritdoc/>
    public void Write(EvaluationReport report) =>
        WriteScalars(report.Step, report.Metrics.Select(m => ($"eval/{m.Key.Replace("eval_", "")}", m.Value)));

    /// <inheritdoc/>
    public void Flush() => Write(stream => stream.Flush(flushToDisk: true));

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            _stream?.Dispose();
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            // What did not fit was told when it was written; its rest is still in the buffer.
        }
    }

    private void WriteScalars(int step, IEnumerable<(string Tag, double Value)> values)
    {
        var summary = Message(output =>
        {
            foreach (var (tag, value) in values)
            {
                output.WriteTag(1, WireFormat.WireType.LengthDelimited);
                output.WriteBytes(ByteString.CopyFrom(Message(v =>
                {
                    v.WriteTag(1, WireFormat.WireType.LengthDelimited);
                    v.WriteString(tag);
                    v.WriteTag(2, WireFormat.WireType.Fixed32);
                    v.WriteFloat((float)value);
                })));
            }
        });
        WriteRecord(Event(step, output =>
        {
            output.WriteTag(5, WireFormat.WireType.LengthDelimited);
            output.WriteBytes(ByteString.CopyFrom(summary));
        }));
    }

    private byte[] Event(int step, Action<CodedOutputStream> what) => Message(output =>
    {
        output.WriteTag(1, WireFormat.WireType.Fixed64);
        output.WriteDouble(clock.GetUtcNow().ToUnixTimeMilliseconds() / 1000.0);
        output.WriteTag(2, WireFormat.WireType.Varint);
        output.WriteInt64(step);
        what(output);
    });

    private static byte[] Message(Action<CodedOutputStream> write)
    {
        using var buffer = new MemoryStream();
        using (var output = new CodedOutputStream(buffer, leaveOpen: true))
            write(output);
        return buffer.ToArray();
    }

    private void Write(Action<FileStream> write)
    {
        try
        {
            if (_stream is not null)
                write(_stream);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing(_path, error);
        }
    }

    private void WriteRecord(byte[] data)
    {
        var header = new byte[12];
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), Crc32C.Masked(header.AsSpan(0, 8)));
        var footer = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(footer, Crc32C.Masked(data));
        Write(stream =>
        {
            stream.Write(header);
            stream.Write(data);
            stream.Write(footer);
        });
    }
}
