using Parquet.Serialization;
using Peft.Chat;
using Peft.Data.Batches;
using Peft.Data.Examples;
using Peft.Formats;

namespace Peft.Data.Tests.Tokens;

/// <summary>Conversations become sequences of which some stretches are learned.</summary>
public sealed class ConversationTests : IDisposable
{
    // One character a token: u, a, s and t begin a message, > ends it.
    private const string Plain = "{% for m in messages %}{{ m.role[0] }}{{ m.content }}>{% endfor %}"
        + "{% if add_generation_prompt %}a{% endif %}";

    private const string Two = """
        {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "1?"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "3?"}, {"role": "assistant", "content": "4"}]}

        """;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("assistant", "<sS>u1?>a2>u3?>a4>", "........2>.....4>.")]
    [InlineData("last_assistant", "<sS>u1?>a2>u3?>a4>", "...............4>.")]
    [InlineData("all", "<sS>u1?>a2>u3?>a4>", "sS>u1?>a2>u3?>a4>.")]
    public void What_is_learned_goes_by_turns(string on, string ids, string targets)
    {
        _folder.Write("chat.jsonl", Two);
        using var data = Open("""{"files": "chat.jsonl"}""", $"\"train_on\": \"{on}\"");
        var batch = data.Train.Sequential(1).Single();
        Assert.Equal(ids, Given.Text(batch.Ids));
        Assert.Equal(
            targets.TrimEnd('.'), Shifted(batch).TrimEnd('.'));
    }

    [Fact]
    public void The_first_token_of_a_text_that_spells_the_prefix_out_stands_once()
    {
        _folder.Write("chat.jsonl", Two);
        using var data = Open("""{"files": "chat.jsonl"}""", template: "<" + Plain);
        Assert.Equal("<sS>u1?>a2>u3?>a4>", Given.Text(data.Train[0].Ids));
    }

    [Fact]
    public void An_end_that_stands_before_the_next_message_only_is_learned_and_put_behind_the_last_one()
    {
        _folder.Write("chat.jsonl", Two);
        const string Between = "{% for m in messages %}{{ m.role[0] }}{{ m.content }}{% if not loop.last %}>"
            + "{% endif %}{% endfor %}{% if add_generation_prompt %}>a{% endif %}";
        using var data = Open("""{"files": "chat.jsonl"}""", template: Between);
        Assert.Equal("<sS>u1?>a2>u3?>a4>", Given.Text(data.Train[0].Ids));
        Assert.Equal(["2>", "4>"], Learned(data.Train[0]));
        using var open = Open("""{"files": "chat.jsonl"}""", "\"add_eos\": false", Between);
        Assert.Equal(["2>", "4"], Learned(open.Train[0]));
    }

    [Fact]
    public void Long_conversations_lose_turns_from_the_front_and_keep_the_system_message()
    {
        _folder.Write("chat.jsonl", Two);
        using var data = Open("""{"files": "chat.jsonl"}""", "\"max_length\": 12");
        var sequence = data.Train[0];
        Assert.Equal("<sS>u3?>a4>", Given.Text(sequence.Ids));
        Assert.Equal(["4>"], Learned(sequence));
        Assert.Equal((1, 0), (sequence.CutTurns, sequence.CutTokens));
        Assert.Equal((1L, 1L, 0L), (data.Train.Statistics.CutTurns, data.Train.Statistics.CutConversations,
            data.Train.Statistics.CutTokens));
    }

    [Fact]
    public void A_last_turn_that_is_too_long_is_an_error_or_skipped_or_cut()
    {
        _folder.Write("chat.jsonl", Two + Two.Replace("\"4\"", "\"44444444444\"", StringComparison.Ordinal));
        Assert.Equal(
            "chat.jsonl:2, message 4: the last turn of the conversation has 21 tokens with what stands before it; "
            + "expected at most max_length 18. Raise `max_length`, or set `on_long_answer: skip` or `cut`.",
            Assert.Throws<DataRowException>(() => Open("""{"files": "chat.jsonl"}""", "\"max_length\": 18")).Message);
        using var skipped = Open(
            """{"files": "chat.jsonl"}""", "\"max_length\": 18, \"on_long_answer\": \"skip\"");
        Assert.Equal((1L, 1L), (skipped.Train.Count, skipped.Train.Statistics.LongRows));
        using var cut = Open("""{"files": "chat.jsonl"}""", "\"max_length\": 18, \"on_long_answer\": \"cut\"");
        Assert.Equal("<sS>u3?>a44444444", Given.Text(cut.Train[1].Ids[..17]));
        Assert.Equal((1, 3), (cut.Train[1].CutTurns, cut.Train[1].CutTokens));
        Assert.Equal(["444444444"], Learned(cut.Train[1]));
    }

    [Theory]
    [InlineData("chat.jsonl", """{"conversations": [{"from": "human", "value": "1?"}, {"from": "gpt", "value": "2"}]}""")]
    [InlineData("chat.json", """[{"instruction": "1", "input": "", "output": "2"}, {"instruction": "1?", "output": "2"}]""")]
    [InlineData("chat.jsonl", """{"messages": "[{\"role\": \"user\", \"content\": \"1?\"}, {\"role\": \"assistant\", \"content\": \"2\"}]"}""")]
    [InlineData("chat.csv", "instruction,output\n1?,2")]
    public void Columns_tell_what_a_row_is(string file, string text)
    {
        _folder.Write(file, text + "\n");
        using var data = Open($"{{\"files\": \"{file}\"}}");
        Assert.Equal("<u1?>a2>", Given.Text(data.Train[data.Train.Count - 1].Ids));
    }

    [Fact]
    public void Format_says_what_a_row_is_where_the_columns_show_two()
    {
        _folder.Write("a.data", """
            {"messages": [{"role": "user", "content": "m"}, {"role": "assistant", "content": "2"}], "instruction": "i", "output": "o"}

            """);
        using var alpaca = Open("""{"files": "a.data", "format": ["jsonl", "alpaca"]}""");
        Assert.Equal("<ui>ao>", Given.Text(alpaca.Train[0].Ids));
        using var messages = Open("""{"files": "a.data", "format": ["jsonl", "messages"]}""");
        Assert.Equal("<um>a2>", Given.Text(messages.Train[0].Ids));
    }

    [Fact]
    public void Computed_columns_can_be_an_instruction_and_its_output()
    {
        _folder.Write("words.csv", "word,plural\nox,oxen\n");
        using var data = Open(
            """{"files": "words.csv", "columns": {"instruction": "word + '?'", "output": "plural"}}""");
        Assert.Equal("<uox?>aoxen>", Given.Text(data.Train[0].Ids));
    }

    [Fact]
    public async Task Lists_of_structs_in_Parquet_are_messages()
    {
        await ParquetSerializer.SerializeAsync(
            new[]
            {
                new Talk { messages = [new() { role = "user", content = "1?" }, new() { role = "assistant",
                    content = "2", name = "Ann" }] },
            }, _folder["chat.parquet"]);
        using var data = Open("""{"files": "chat.parquet"}""", template:
            "{% for m in messages %}{{ m.role[0] }}{% if m.name is defined %}({{ m.name }}){% endif %}{{ m.content }}>"
            + "{% endfor %}{% if add_generation_prompt %}a{% endif %}");
        Assert.Equal("<u1?>a(Ann)2>", Given.Text(data.Train[0].Ids));
    }

    [Fact]
    public async Task What_a_call_in_Parquet_lacks_is_no_argument_whatever_its_name()
    {
        Call Calling(Arguments given) => new() { function = new() { name = "f", arguments = given } };
        await ParquetSerializer.SerializeAsync(
            new[]
            {
                new ToolTalk
                {
                    messages =
                    [
                        new() { role = "user", content = [new() { type = "text", text = "1?" }] },
                        new() { role = "assistant", tool_calls = [Calling(new() { path = "2" })] },
                        new() { role = "tool", content = [new() { type = "text", text = "3" }] },
                        new() { role = "assistant", tool_calls = [Calling(new() { content = "4" })] },
                    ],
                },
            }, _folder["calls.parquet"]);
        using var data = Open("""{"files": "calls.parquet"}""", template:
            "{% for m in messages %}{{ m.role[0] }}{% if m.content is none %}-{% else %}{{ m.content }}{% endif %}"
            + "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}>{% endfor %}"
            + "{% if add_generation_prompt %}a{% endif %}");
        Assert.Equal(
            """<u1?>a-{"path": "2"}>t3>a-{"content": "4"}>""", Given.Text(data.Train[0].Ids));
    }

    [Fact]
    public void Packed_and_streamed_conversations_learn_what_they_learn_alone()
    {
        _folder.Write("chat.jsonl", string.Concat(Enumerable.Repeat(Two, 8)));
        using var plain = Open("""{"files": "chat.jsonl"}""", "\"max_length\": 64");
        using var packed = Open("""{"files": "chat.jsonl"}""", "\"max_length\": 64, \"packing\": true");
        using var streamed = Open("""{"files": "chat.jsonl", "weight": 1}""", "\"max_length\": 64, \"streaming\": true");
        var wanted = Shifted(plain.Train.Sequential(1).First());
        var row = packed.Batches(1, 0).Next();
        Assert.True(row.IsPacked);
        Assert.Equal(
            string.Concat(Enumerable.Repeat(wanted, row.SequenceCount)),
            Given.Text(row.Targets[..(row.SequenceCount * wanted.Length)]));
        Assert.Equal(wanted, Given.Text(streamed.Batches(1, 0).Next().Targets));
    }

    [Theory]
    [InlineData("""{"messages": []}""",
        "chat.jsonl:1: no messages; expected at least one from the user and one from the assistant. Correct the row, "
        + "leave it out with `filter:`, or set `on_bad_row: skip`.")]
    [InlineData("""{"messages": null}""",
        "chat.jsonl:1: column 'messages' has no value; expected a value. Correct the row, leave it out with `filter:`, "
        + "or set `on_bad_row: skip`.")]
    [InlineData("""{"messages": [{"role": "robot", "content": "x"}]}""",
        "chat.jsonl:1, message 1: the role 'robot'; expected system, developer, user, assistant or tool. Correct the "
        + "row, leave it out with `filter:`, or set `on_bad_row: skip`.")]
    [InlineData("""{"messages": [{"role": "user", "content": "x"}]}""",
        "chat.jsonl:1: no message from the assistant; expected one to learn. Leave the row out with `filter:`, or set "
        + "`on_bad_row: skip`.")]
    [InlineData("""{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "RAISE"}]}""",
        "chat.jsonl:1, message 2: the chat template refuses the conversation: no thanks. Correct the messages, or "
        + "choose another template with `chat_template:`.")]
    public void A_row_that_is_no_conversation_is_an_error_or_skipped_and_counted(string row, string message)
    {
        const string Raising = "{% for m in messages %}{% if 'RAISE' in m.content %}{{ raise_exception('no thanks') }}"
            + "{% endif %}{% endfor %}" + Plain;
        _folder.Write("chat.jsonl", row + "\n" + Two);
        Assert.Equal(
            message, Assert.Throws<DataRowException>(
                () => Open("""{"files": "chat.jsonl"}""", template: Raising)).Message);
        using var data = Open("""{"files": "chat.jsonl", "on_bad_row": "skip"}""", template: Raising);
        Assert.Equal((1L, 1L), (data.Train.Count, data.Train.Statistics.BadRows));
    }

    [Theory]
    [InlineData("""{"files": "x.csv"}""", "",
        "data.train[0].template: missing, and the columns of x.csv are no conversation (a, b); expected prompt and "
        + "answer, or text alone, or a column messages or conversations, or columns instruction and output. "
        + "For example {prompt: \"{question}\", answer: \" {answer}\"}.")]
    [InlineData("""{"files": "x.csv", "format": "alpaca"}""", "",
        "data.train[0].format: alpaca, and no column 'instruction' in x.csv; expected one of its columns: a, b.")]
    [InlineData("""{"files": "x.csv", "template": {"text": "{a}"}}""", "\"train_on\": \"all\"",
        "data.train_on: given, and no data set holds conversations; expected conversations. Set `train_on_prompt: "
        + "true` to learn prompts too.")]
    [InlineData("""{"files": "chat.jsonl"}""", "\"train_on_prompt\": true",
        "data.train_on_prompt: true, and all data sets hold conversations; expected false. Set `train_on: all` to "
        + "learn all messages.")]
    public void What_does_not_fit_the_columns_is_a_fault(string set, string more, string message)
    {
        _folder.Write("x.csv", "a,b\n1,2\n");
        _folder.Write("chat.jsonl", Two);
        var error = Assert.Throws<FaultsException>(() => Open(set, more));
        Assert.Equal(message, Assert.Single(error.Items).ToString());
    }

    [Theory]
    [InlineData("""{"files": "a", "format": "alpaka"}""", "line 1  data.train[0].format: 'alpaka'; expected one of: parquet, "
        + "jsonl, json, csv, tsv, ndjson, txt, messages, sharegpt, alpaca. Did you mean alpaca?")]
    [InlineData("""{"files": "a", "format": ["alpaca", "messages"]}""",
        "line 1  data.train[0].format: 'messages' beside another of its kind; expected one of them.")]
    [InlineData("""{"files": "a", "format": "alpaca", "template": {"text": "{a}"}}""",
        "line 1  data.train[0].template: given together with format: alpaca; expected one of the two.")]
    public void A_wrong_format_is_a_fault(string set, string message) =>
        Assert.Equal(
            message, Assert.Single(Assert.Throws<FaultsException>(() => Given.Train(set)).Items).ToString());

    private TrainingData Open(string set, string more = "", string template = Plain)
    {
        var options = Given.Train(set, more);
        var parsed = ChatTemplate.Parse(template, "t", new Dictionary<string, string>());
        return TrainingData.Open(options, Given.Talks, _folder.Path, template: () => parsed);
    }

    private static string Shifted(TokenBatch batch) => Given.Text(batch.Targets);

    private static IEnumerable<string> Learned(Peft.Data.Tokens.TokenSequence sequence) =>
        sequence.Learned.Select(run => Given.Text(sequence.Ids[run.Start..run.End]));

#pragma warning disable IDE1006 // names of columns
    private sealed class Talk
    {
        public List<Message>? messages { get; set; }
    }

    private sealed class Message
    {
        public string? role { get; set; }

        public string? content { get; set; }

        public string? name { get; set; }
    }

    private sealed class ToolTalk
    {
        public List<ToolMessage>? messages { get; set; }
    }

    private sealed class ToolMessage
    {
        public string? role { get; set; }

        public List<Part>? content { get; set; }

        public List<Call>? tool_calls { get; set; }
    }

    private sealed class Part
    {
        public string? type { get; set; }

        public string? text { get; set; }
    }

    private sealed class Call
    {
        public Function? function { get; set; }
    }

    private sealed class Function
    {
        public string? name { get; set; }

        public Arguments? arguments { get; set; }
    }

    private sealed class Arguments
    {
        public string? path { get; set; }

        public string? content { get; set; }
    }
#pragma warning restore IDE1006
}
