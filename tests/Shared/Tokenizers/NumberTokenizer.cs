using System.Globalization;
using Peft.Formats.Tokenizers;

namespace Peft.Tests;

/// <summary>Text that is token ids written out: "3 17 5". Makes vocabularies of any size.</summary>
public sealed class NumberTokenizer(int size, int? bos = null) : Tokenizer
{
    public override int VocabularySize => size;

    public override int EndId => size;

    public override IReadOnlyList<int> EncodeToIds(string text, string? pair, bool addSpecialTokens)
    {
        var ids = text.Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Select(word => int.TryParse(word, CultureInfo.InvariantCulture, out var id) ? id : 0);
        return [.. addSpecialTokens && bos is { } first ? ids.Prepend(first) : ids];
    }

    public override int CountTokens(string text, bool addSpecialTokens = true) => EncodeToIds(text, addSpecialTokens).Count;

    public override string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false) => string.Join(' ', ids);

    public override TokenStream NewDecoder(bool skipSpecialTokens) => throw new NotSupportedException();

    public override string? IdToToken(int id) => id >= 0 && id < size ? id.ToString(CultureInfo.InvariantCulture) : null;

    public override int? TokenToId(string token) => int.Parse(token, CultureInfo.InvariantCulture);

    public override bool IsSpecial(int id) => id == bos;
}
