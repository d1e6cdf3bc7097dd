using System.Buffers.Binary;
using System.Text;
using Peft.Training.Metrics;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests.Metrics;

/// <summary>
/// The files read back by the rules of TensorFlow's record format and of protocol buffers, written out here.
/// </summary>
public sealed class TensorBoardSinkTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Records_carry_lengths_and_masked_checksums_and_events_carry_the_scalars()
    {
        using (var sink = Started(0))
        {
            sink.Write(new StepReport(3, 1.5, 0.25, 2e-4, 0.75, 640, 1000, [0.4, 0.6]));
            sink.Write(
                new EvaluationReport(300, new Dictionary<string,
                double>
                { ["eval_loss"] = 2, ["eval_spam_loss"] = 3 }));
        }

        var events = Events(Assert.Single(Files()));

        Assert.Equal("brain.Event:2", Encoding.UTF8.GetString(events[0].Bytes(3)));
        Assert.All(events.Skip(1), e => Assert.Equal(1_700_000_000.0, e.Double(1)));
        Assert.Equal([3ul, 3, 3, 3, 3, 3, 3, 300, 300], events.Skip(1).Select(e => e.Varint(2)));
        Assert.Equal(
            [("train/loss", 1.5f), ("train/aux", 0.25f), ("train/learning_rate", 2e-4f), ("train/grad_norm", 0.75f),
                ("train/tokens_per_second", 1000f), ("routing/load/expert_0", 0.4f), ("routing/load/expert_1", 0.6f)],
            events[1..8].SelectMany(Scalars));
        Assert.Equal([("eval/loss", 2f), ("eval/spam_loss", 3f)], events[8..].SelectMany(Scalars));
    }

    [Fact]
    public void The_file_is_named_so_that_tensorboard_takes_it()
    {
        using (Started(0))
        {
        }

        Assert.Matches(@"^events\.out\.tfevents\..+\.peft$", Path.GetFileName(Assert.Single(Files())));
    }

    [Fact]
    public void A_resumed_run_adds_a_file_that_begins_a_session_after_the_checkpoint()
    {
        using (Started(0))
        {
        }
        using (Started(40))
        {
        }

        Assert.Equal(2, Files().Length);
        var events = Events(Files()[1]);
        Assert.Equal(41ul, events[1].Varint(2));
        // SessionLog.status START makes TensorBoard drop the steps from 41 on that the first file may hold.
        Assert.Equal(1ul, Message.Parse(events[1].Bytes(7)).Varint(1));
    }

    [Fact]
    public void What_was_flushed_can_be_read_while_the_run_goes_on()
    {
        using var sink = Started(0);
        sink.Write(new StepReport(1, 1, 0, 0, 0, 1, 1, []));
        sink.Flush();

        Assert.Equal(6, Events(Assert.Single(Files())).Count);
    }

    private TensorBoardSink Started(int afterStep)
    {
        var sink = new TensorBoardSink(_folder["events"], new FixedClock());
        sink.Start(afterStep, 100);
        return sink;
    }

    private string[] Files() => [.. Directory.GetFiles(_folder["events"]).Order(StringComparer.Ordinal)];

    private static List<Message> Events(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var file = new byte[stream.Length];
        stream.ReadExactly(file);
        var events = new List<Message>();
        for (var at = 0; at < file.Length;)
        {
            var length = checked((int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at, 8)));
            Assert.Equal(Masked(file.AsSpan(at, 8)), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8, 4)));
            var data = file.AsSpan(at + 12, length);
            Assert.Equal(Masked(data), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 12 + length, 4)));
            events.Add(Message.Parse(data));
            at += length + 16;
        }
        return events;
    }

    // The polynomial of RFC 3720, bit by bit.
    private static uint Crc32C(ReadOnlySpan<byte> bytes)
    {
        var crc = 0xFFFFFFFFu;
        foreach (var value in bytes)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 1) == 1 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
        }
        return ~crc;
    }

    private static uint Masked(ReadOnlySpan<byte> bytes)
    {
        var crc = Crc32C(bytes);
        return unchecked(((crc >> 15) | (crc << 17)) + 0xA282EAD8u);
    }

    private static IEnumerable<(string, float)> Scalars(Message message) =>
        Message.Parse(message.Bytes(5)).Fields.Select(field =>
        {
            Assert.Equal(1, field.Number);
            var value = Message.Parse(field.Data);
            return (Encoding.UTF8.GetString(value.Bytes(1)), BinaryPrimitives.ReadSingleLittleEndian(value.Bytes(2)));
        });

    private sealed class FixedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_500);
    }

    private sealed record Message(List<(int Number, byte[] Data)> Fields)
    {
        public static Message Parse(ReadOnlySpan<byte> bytes)
        {
            var fields = new List<(int, byte[])>();
            for (var at = 0; at < bytes.Length;)
            {
                var tag = Varint(bytes, ref at);
                var start = at;
                switch (tag & 7)
                {
                    case 0:
                        Varint(bytes, ref at);
                        break;
                    case 1:
                        at += 8;
                        break;
                    case 2:
                        var length = (int)Varint(bytes, ref at);
                        start = at;
                        at += length;
                        break;
                    case 5:
                        at += 4;
                        break;
                    default:
                        Assert.Fail($"wire type {tag & 7}");
                        break;
                }
                fields.Add(((int)(tag >> 3), bytes[start..at].ToArray()));
            }
            return new(fields);
        }

        public byte[] Bytes(int number) => Fields.Single(field => field.Number == number).Data;

        public double Double(int number) => BinaryPrimitives.ReadDoubleLittleEndian(Bytes(number));

        public ulong Varint(int number)
        {
            var at = 0;
            return Varint(Bytes(number), ref at);
        }

        private static ulong Varint(ReadOnlySpan<byte> bytes, ref int at)
        {
            var value = 0ul;
            for (var shift = 0; ; shift += 7)
            {
                value |= (ulong)(bytes[at] & 0x7F) << shift;
                if ((bytes[at++] & 0x80) == 0)
                    return value;
            }
        }
    }
}
