using Peft.Formats.Tokenizers.Models;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>
/// Runs the pre-tokenizers of a tokenizer and hands the words to the model. The common chains (a known pattern, then
/// bytes) run over UTF-8 without making pieces; any other chain makes a list of pieces for each step.
/// </summary>
internal sealed class WordSplitter
{
    private readonly BpeModel _model;
    private readonly IReadOnlyList<IPreTokenizer> _steps;
    // The last step where it is ByteLevel: its bytes go to the model as they are.
    private readonly ByteLevelPreTokenizer? _byteLevel;
    private readonly Utf8Scanner? _scanner;

    public WordSplitter(BpeModel model, IReadOnlyList<IPreTokenizer> steps)
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

    public void Encode(Piece piece, EncodeState state)
    {
        if (piece.Length == 0)
            return;
        if (_scanner is not null)
            EncodeScanned(piece, state);
        else
            EncodePieces(piece, state);
    }

    private void EncodeScanned(Piece piece, EncodeState state)
    {
        if (_byteLevel!.AddsPrefixSpace && piece.Span[0] != ' ')
            piece = piece.With(" " + piece.ToString());
        var utf8 = state.ToUtf8(piece.Span);
        for (var start = 0; start < utf8.Length;)
        {
            var end = _scanner!.NextEnd(utf8, start);
            _model.EncodeBytes(utf8[start..end], state, state.Ids);
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

        if (_byteLevel is null)
        {
            foreach (var one in pieces)
                _model.EncodeCharacters(one.Span, state, state.Ids);
            return;
        }

        next.Clear();
        foreach (var one in pieces)
            _byteLevel.SplitOnly(one, next);
        foreach (var one in next)
            _model.EncodeBytes(state.ToUtf8(one.Span), state, state.Ids);
    }
}
