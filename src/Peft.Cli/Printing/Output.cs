using System.Text;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Cli.Printing;

/// <summary>
/// Results go to standard output, words to standard error, so that a script can read the first alone.
/// </summary>
public sealed class Output : IDisposable
{
    private static readonly UTF8Encoding Utf8 = new(false, throwOnInvalidBytes: true);

    private const string ToLineStart = "\r\u001b[K";

    private readonly TextWriter _results;
    private readonly TextWriter _words;
    private readonly Lock _gate = new();
    private readonly bool _isMuted;
    private bool _isDrawn;

    /// <summary>Writes to the process's own streams.</summary>
    public Output()
        : this(WriterTo(Console.OpenStandardOutput()), WriterTo(Console.OpenStandardError()))
    {
    }

    /// <summary>Writes results and words elsewhere.</summary>
    public Output(TextWriter results, TextWriter words) => (_results, _words) = (results, words);

    private Output(Output loud)
    {
        (_results, _words, _isMuted) = (loud._results, loud._words, true);
        IsInteractive = false;
    }

    /// <summary>The same streams for a process beside the one that speaks: it tells of errors alone.</summary>
    public Output Muted() => new(this);

    /// <summary>
    /// Whether words can be redrawn in place and coloured: a terminal, not a file, and nobody asked for plain text.
    /// </summary>
    public bool IsInteractive { get; } = !Console.IsErrorRedirected
        && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"))
        && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("CI"))
        && Environment.GetEnvironmentVariable("TERM") is not (null or "dumb");

    /// <summary>Whether results can be coloured: they go to a terminal, and nobody asked for plain text.</summary>
    public bool ShowsColour { get; } = !Console.IsOutputRedirected
        && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"))
        && Environment.GetEnvironmentVariable("TERM") is not (null or "dumb");

    /// <summary>Characters of a line where results go to a terminal that knows; else null.</summary>
    public static int? Width =>
        !IsOfOpenMpi && !Console.IsOutputRedirected && Console.WindowWidth is > 0 and var own ? own : null;

    /// <summary>Whether Open MPI started this process, and so passes its streams on.</summary>
    public static bool IsOfOpenMpi => Environment.GetEnvironmentVariable("OMPI_COMM_WORLD_SIZE") is not null;

    /// <summary>A line of the result.</summary>
    public void Result(string line)
    {
        if (_isMuted)
            return;
        Erase();
        ToResults(line + "\n");
    }

    /// <summary>A piece of the result, without a line end.</summary>
    public void ResultPart(string text)
    {
        if (!_isMuted)
            ToResults(text);
    }

    /// <summary>A line for the person watching.</summary>
    public void Say(string line)
    {
        if (!_isMuted)
            Write(line);
    }

    private void Write(string line)
    {
        lock (_gate)
        {
            Erase();
            _words.WriteLine(line);
        }
    }

    /// <summary>Draws a line without its end over the one that was drawn before; whatever else is written takes it
    /// away first.</summary>
    public void Draw(string line)
    {
        lock (_gate)
        {
            _words.Write(ToLineStart + line);
            _isDrawn = true;
        }
    }

    /// <summary>Takes away the line that was drawn last.</summary>
    public void Erase()
    {
        lock (_gate)
        {
            if (_isDrawn)
                _words.Write(ToLineStart);
            _isDrawn = false;
        }
    }

    /// <summary>Text for the person watching, without a line end.</summary>
    public void SayPart(string text)
    {
        if (!_isMuted)
            _words.Write(text);
    }

    /// <summary>A message about something that went wrong.</summary>
    public void Error(string message) => Write(Quote.Escaped(message));

    /// <summary>Lines of standard input, as UTF-8.</summary>
    /// <exception cref="UserException">A line is not UTF-8.</exception>
    public static IEnumerable<string> InputLines()
    {
        // Latin-1 keeps each byte as one character, so that a wrong byte is met in its own line, not with a whole
        // block.
        using var reader = new StreamReader(Console.OpenStandardInput(), Encoding.Latin1,
            detectEncodingFromByteOrderMarks: false);
        for (var number = 1; reader.ReadLine() is { } bytes; number++)
            yield return number == 1 ? Decode(bytes, number).TrimStart('\uFEFF') : Decode(bytes, number);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _results.Dispose();
        _words.Dispose();
    }

    private void ToResults(string text)
    {
        try
        {
            _results.Write(text);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing("standard output", error);
        }
    }

    private static StreamWriter WriterTo(Stream stream) =>
        new(stream, new UTF8Encoding(false)) { AutoFlush = true, NewLine = "\n" };

    private static string Decode(string bytes, int number)
    {
        if (Ascii.IsValid(bytes))
            return bytes;
        try
        {
            return Utf8.GetString(Encoding.Latin1.GetBytes(bytes));
        }
        catch (DecoderFallbackException e)
        {
            throw UserException.At(
                $"standard input line {number}", "is not UTF-8", null,
                "convert the text, for example with iconv -t utf-8", e);
        }
    }
}
