using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Turns ids into text while they are made. Never gives out half a character; all pieces together are what
/// <see cref="HuggingFaceTokenizer.Decode(IEnumerable{int}, bool)"/> gives for all ids. Not for several threads at
/// once.
/// </summary>
public sealed class TokenStream
{
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly bool _skipsSpecialTokens;
    private readonly StringBuilder _output = new();
    private readonly DecoderStep _first;

    internal TokenStream(
        HuggingFaceTokenizer tokenizer, bool skipSpecialTokens, IReadOnlyList<Func<DecoderStep, DecoderStep>> decoders)
    {
        _tokenizer = tokenizer;
        _skipsSpecialTokens = skipSpecialTokens;
        _first = new OutputStep(_output, decoders.Count == 0 ? " " : "");
        foreach (var decoder in decoders.Reverse())
            _first = decoder(_first);
    }

    /// <summary>
    /// Takes one id and returns the text that is certain by now; often empty. An id outside the vocabulary adds
    /// nothing.
    /// </summary>
    public string Append(int id)
    {
        Push(id);
        return TakeOutput();
    }

    /// <summary>Ends the text and returns what was held back. The stream is then ready for another text.</summary>
    public string Flush()
    {
        _first.Finish();
        return TakeOutput();
    }

    /// <summary>Whether text of the ids so far waits for those to come.</summary>
    internal bool HoldsBack => _first.HoldsBack;

    internal void Push(int id)
    {
        if (_tokenizer.IdToToken(id) is not { } token || _skipsSpecialTokens && _tokenizer.IsSpecial(id))
            return;
        _first.Begin();
        _first.Text(token);
        _first.End();
    }

    private string TakeOutput()
    {
        var text = _output.ToString();
        _output.Clear();
        return text;
    }
}
