namespace Peft.Formats.Tokenizers.Decoders;

/// <summary>
/// "WordPiece": a token with the prefix joins the one before, any other begins a word; cleaning up takes the spaces that
/// English does not set before punctuation and contractions.
/// </summary>
internal sealed class WordPieceStep(string prefix, bool cleansUp, DecoderStep next) : WholeTokenStep(next)
{
    private static readonly (string Found, string Made)[] CleanUps =
    [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
        (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ];

    private bool _isFirst = true;

    public override void Finish()
    {
        _isFirst = true;
        base.Finish();
    }

    protected override void Process(string token)
    {
        if (!_isFirst)
            token = token.StartsWith(prefix, StringComparison.Ordinal) ? token[prefix.Length..] : " " + token;
        _isFirst = false;
        if (cleansUp)
        {
            foreach (var (found, made) in CleanUps)
                token = token.Replace(found, made, StringComparison.Ordinal);
        }

        Emit(token);
    }
}
