using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Runs the pre-tokenizers of a tokenizer and hands the words to the model. The common chains (a known pattern, then
/// bytes) run over UTF-8 without making pieces; any other chain makes a list of pieces for each step.
/// </summary>
internal sealed class WordSplitter
{
    private readonly WordModel _model;
    private readonly IReadOnlyList<IPreTokenizer> _steps;
    // The last step where it is ByteLevel: its bytes go to the model as they are.
    private readonly ByteLevelPreTokenizer? _byteLevel;
    private readonly Utf8Scanner? _scanner;

    public WordSplitter(WordModel model, IReadOnlyList<IPreTokenizer> steps)
    {
        (_model, _steps) = (model, steps);
        if (!model.HasAllBytes || steps is not [.., ByteLevelPreTokenizer last])
            return;
        _byteLevel = last;
        _steps = [.. steps.SkipLast(1)];
        if (_steps.Count == 0 && last.Splits)
            _scanner = Gpt2Scanner.Shared;
        else if (_steps is [ScannerSplit only] && !last.Splits && !last.AddsPrefixSpace)
            _scanner = only.Scanner;
    }

    /// <summary>Adds the ids of a piece.</summary>
    /// <param name="piece">What to encode.</param>
    /// <param name="splits">Whether to cut it into words; otherwise it is one.</param>
    /// <param name="state">Takes the ids, and where they come from if that is asked for.</param>
    public void Encode(Piece piece, bool splits, EncodeState state)
    {
        if (piece.Length == 0)
            return;
        if (!splits)
            EncodeWord(piece, state);
        else if (_scanner is not null)
            EncodeScanned(piece, state);
        else
            EncodePieces(piece, state);
    }

    private void EncodeScanned(Piece piece, EncodeState state)
    {
        if (_byteLevel!.AddsPrefixSpace && piece.Span[0] != ' ')
            piece = piece.With(piece.Own.Prepend(" "));
        var utf8 = state.ToUtf8(piece.Span);
        var at = 0;
        for (var start = 0; start < utf8.Length;)
        {
            var end = _scanner!.NextEnd(utf8, start);
            var word = utf8[start..end];
            var first = state.Ids.Count;
            _model.EncodeBytes(word, state);
            if (state.Origins is not null)
                at = LocateBytes(word, piece, at, state, first);
            start = end;
        }
    }

    private void EncodePieces(Piece piece, EncodeState state)
    {
        var (pieces, next) = (state.Pieces, state.NextPieces);
        pieces.Clear();
        pieces.Add(piece);
        foreach (var step in _steps)
        {
            next.Clear();
            foreach (var one in pieces)
                step.Split(one, next);
            (pieces, next) = (next, pieces);
        }

        if (_byteLevel is not null)
        {
            next.Clear();
            foreach (var one in pieces)
                _byteLevel.SplitOnly(one, next);
            pieces = next;
        }

        foreach (var one in pieces)
            EncodeWord(one, state);
    }

    private void EncodeWord(Piece word, EncodeState state)
    {
        var first = state.Ids.Count;
        if (_byteLevel is not null)
        {
            var utf8 = state.ToUtf8(word.Span);
            _model.EncodeBytes(utf8, state);
            if (state.Origins is not null)
                LocateBytes(utf8, word, 0, state, first);
            return;
        }

        _model.EncodeCharacters(word.Span, state);
        if (state.Origins is null)
            return;
        state.Places.Clear();
        _model.Locate(word.Span, state.Ids.Span[first..], state.Places);
        foreach (var place in state.Places)
            state.Origins.Add(word.OriginOf(place.Start, place.End));
    }

    // A byte-level token is as many bytes as it has characters. One that holds a part of a character's bytes comes from
    // the whole character, so the tokens of one character share it. Returns where in the piece the word ends.
    private int LocateBytes(ReadOnlySpan<byte> word, Piece piece, int at, EncodeState state, int firstId)
    {
        var (current, next) = (at, at);
        var read = 0;
        foreach (var id in state.Ids.Span[firstId..])
        {
            var start = IsContinuation(word[read]) ? current : next;
            for (var count = Encoding.UTF8.GetCharCount(_model.Vocabulary.Utf8Of(id)); count > 0; count--)
            {
                var value = word[read++];
                if (!IsContinuation(value))
                    (current, next) = (next, next + (value >= 0xF0 ? 2 : 1));
            }

            state.Origins!.Add(piece.OriginOf(start, next));
        }

        return next;
    }

    private static bool IsContinuation(byte value) => (value & 0xC0) == 0x80;
}
