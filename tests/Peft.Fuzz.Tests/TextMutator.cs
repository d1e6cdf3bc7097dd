using System.Text;

namespace Peft.Fuzz.Tests;

/// <summary>
/// Changes what a text of JSON or YAML says: numbers, texts, values, members, lines. The text is only cut into words, never parsed, so that
/// a text that is broken already can be changed further.
/// </summary>
internal static class TextMutator
{
    private enum Kind
    {
        Number,
        Text,
        Word,
        Blank,
        Mark,
    }

    /// <summary>One change.</summary>
    public static byte[] Change(byte[] text, Random random)
    {
        var words = WordsOf(text);
        if (words.Count == 0)
            return Encoding.UTF8.GetBytes(Hostile.Value(random));
        switch (random.Next(12))
        {
            case 0 or 1:
                return ReplaceOne(text, words, Kind.Number, () => Hostile.Number(random), random);
            case 2:
                return ReplaceOne(text, words, Kind.Text, () => '"' + Hostile.Text(random) + '"', random);
            case 3:
                return ReplaceOne(text, words, Kind.Word, () => random.Next(2) == 0 ? Hostile.Value(random) : Hostile.Text(random), random);
            case 4: // one word for another of the same text
                var (from, to) = (words[random.Next(words.Count)], words[random.Next(words.Count)]);
                return Replace(text, to.Start, to.End, text[from.Start..from.End]);
            case 5: // a word twice or not at all
                var word = words[random.Next(words.Count)];
                return random.Next(2) == 0 ? Replace(text, word.Start, word.End, []) : Replace(text, word.End, word.End, text[word.Start..word.End]);
            case 6 or 7:
                return ChangeMember(text, words, random);
            case 8 or 9:
                return ChangeLines(text, random);
            case 10: // a value into brackets
                var inner = words[random.Next(words.Count)];
                return Replace(text, inner.Start, inner.End, Bytes(Hostile.Nested(Encoding.UTF8.GetString(text[inner.Start..inner.End]), random)));
            default:
                var at = words[random.Next(words.Count)].Start;
                return Replace(text, at, at, Bytes(Hostile.Value(random)));
        }
    }

    private static byte[] ReplaceOne(byte[] text, List<Piece> words, Kind kind, Func<string> by, Random random)
    {
        var fitting = words.FindAll(word => word.Kind == kind);
        if (fitting.Count == 0)
            return Replace(text, 0, 0, Bytes(by()));
        var word = fitting[random.Next(fitting.Count)];
        return Replace(text, word.Start, word.End, Bytes(by()));
    }

    // "key": value, up to the comma or bracket that ends it.
    private static byte[] ChangeMember(byte[] text, List<Piece> words, Random random)
    {
        var keys = Enumerable.Range(0, words.Count).Where(i => IsKey(text, words, i)).ToList();
        if (keys.Count == 0)
            return ChangeLines(text, random);
        var key = keys[random.Next(keys.Count)];
        var valueStart = words.FindIndex(key, word => text[word.Start] == ':') + 1;
        var depth = 0;
        var end = valueStart;
        while (end < words.Count)
        {
            var mark = text[words[end].Start];
            if (words[end].Kind == Kind.Mark && depth == 0 && mark is (byte)',' or (byte)'}' or (byte)']' or (byte)'\n')
                break;
            depth += mark switch { (byte)'{' or (byte)'[' => 1, (byte)'}' or (byte)']' => -1, _ => 0 };
            end++;
        }

        var (start, valueAt) = (words[key].Start, valueStart < words.Count ? words[valueStart].Start : text.Length);
        var stop = end < words.Count ? words[end].Start : text.Length;
        var member = text[start..stop];
        return random.Next(6) switch
        {
            0 => Replace(text, stop, stop, [(byte)',', .. member]), // the key twice
            1 => Replace(text, start, stop, []),
            2 => Replace(text, valueAt, stop, Bytes(Hostile.Value(random))),
            3 => Replace(text, words[key].Start, words[key].End, Bytes('"' + Hostile.Text(random) + '"')),
            4 => Replace(text, stop, stop, Bytes(Many(random))),
            _ => Replace(text, valueAt, stop, text[words[keys[random.Next(1 + keys.IndexOf(key))]].Start..stop]), // into itself
        };
    }

    // Many members more.
    private static string Many(Random random) => string.Concat(
        Enumerable.Range(0, 1 + random.Next(random.Next(6) == 0 ? 3000 : 20)).Select(i => $",\"k{i}\":{i}"));

    private static bool IsKey(byte[] text, List<Piece> words, int at) =>
        words[at].Kind is Kind.Text or Kind.Word
        && words.Skip(at + 1).FirstOrDefault(word => word.Kind != Kind.Blank) is { End: > 0 } next && text[next.Start] == ':';

    private static byte[] ChangeLines(byte[] text, Random random)
    {
        var lines = Encoding.Latin1.GetString(text).Split('\n').ToList();
        var (at, other) = (random.Next(lines.Count), random.Next(lines.Count));
        switch (random.Next(6))
        {
            case 0:
                lines.RemoveAt(at);
                break;
            case 1:
                lines.Insert(other, lines[at]);
                break;
            case 2:
                (lines[at], lines[other]) = (lines[other], lines[at]);
                break;
            case 3:
                lines[at] = new string(random.Next(8) == 0 ? '\t' : ' ', random.Next(6)) + lines[at];
                break;
            case 4:
                lines[at] = lines[at].TrimStart();
                break;
            default:
                string[] marks = ["---", "...", "%YAML 9.9", "&a [*a, *a]", "!!binary x", "? [a]", "<<: *a", "- ", "|+1", "> x", "'", "# \u0085"];
                lines.Insert(at, marks[random.Next(marks.Length)]);
                break;
        }

        return Encoding.Latin1.GetBytes(string.Join('\n', lines));
    }

    private static byte[] Replace(byte[] text, int start, int end, byte[] by) => [.. text[..start], .. by, .. text[end..]];

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static List<Piece> WordsOf(byte[] text)
    {
        var words = new List<Piece>();
        for (var at = 0; at < text.Length;)
        {
            var end = at + 1;
            var kind = KindOf(text[at]);
            if (kind == Kind.Text)
            {
                while (end < text.Length && text[end] != (byte)'"')
                    end += text[end] == (byte)'\\' ? 2 : 1;
                end = Math.Min(end + 1, text.Length);
            }
            else if (kind != Kind.Mark)
            {
                while (end < text.Length && (KindOf(text[end]) == kind || kind == Kind.Word && KindOf(text[end]) == Kind.Number))
                    end++;
            }

            words.Add(new Piece(kind, at, end));
            at = end;
        }

        return words;
    }

    private static Kind KindOf(byte value) => value switch
    {
        (byte)'"' => Kind.Text,
        (byte)' ' or (byte)'\r' or (byte)'\t' => Kind.Blank,
        >= (byte)'0' and <= (byte)'9' or (byte)'-' or (byte)'.' => Kind.Number,
        >= (byte)'a' and <= (byte)'z' or >= (byte)'A' and <= (byte)'Z' or (byte)'_' or >= 0x80 => Kind.Word,
        _ => Kind.Mark,
    };

    private readonly record struct Piece(Kind Kind, int Start, int End);
}
