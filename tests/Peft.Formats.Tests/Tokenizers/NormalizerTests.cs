using System.Text;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class NormalizerTests
{
    [Theory]
    [InlineData("plain", "plain", "plain", "plain", "plain")]
    [InlineData("caf\u00e9", "caf\u00e9", "cafe\u0301", "caf\u00e9", "cafe\u0301")]
    [InlineData("e\u0327\u0301x", "\u0229\u0301x", "e\u0327\u0301x", "\u0229\u0301x", "e\u0327\u0301x")]
    [InlineData("e\u0301\u0327", "\u0229\u0301", "e\u0327\u0301", "\u0229\u0301", "e\u0327\u0301")]
    [InlineData("\ufb01\u00b2", "\ufb01\u00b2", "\ufb01\u00b2", "fi2", "fi2")]
    [InlineData(
        "\ud55c\uac00", "\ud55c\uac00", "\u1112\u1161\u11ab\u1100\u1161", "\ud55c\uac00",
        "\u1112\u1161\u11ab\u1100\u1161")]
    [InlineData("\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab")]
    [InlineData("\u212b", "\u00c5", "A\u030a", "\u00c5", "A\u030a")]
    [InlineData("\u0958", "\u0915\u093c", "\u0915\u093c", "\u0915\u093c", "\u0915\u093c")]
    [InlineData("\u1e9b\u0323", "\u1e9b\u0323", "\u017f\u0323\u0307", "\u1e69", "s\u0323\u0307")]
    [InlineData("😀\ud835\udc00é", "😀\ud835\udc00é", "😀\ud835\udc00e\u0301", "😀Aé", "😀Ae\u0301")]
    [InlineData("\u0301", "\u0301", "\u0301", "\u0301", "\u0301")]
    [InlineData(
        "x\ud804\udd31\ud804\udd27", "x\ud804\udd2e", "x\ud804\udd31\ud804\udd27", "x\ud804\udd2e",
        "x\ud804\udd31\ud804\udd27")]
    public void The_four_forms_are_Unicodes(string text, string nfc, string nfd, string nfkc, string nfkd)
    {
        Assert.Equal(nfc, UnicodeNormalizer.OfForm("NFC").Normalize(text));
        Assert.Equal(nfd, UnicodeNormalizer.OfForm("NFD").Normalize(text));
        Assert.Equal(nfkc, UnicodeNormalizer.OfForm("NFKC").Normalize(text));
        Assert.Equal(nfkd, UnicodeNormalizer.OfForm("NFKD").Normalize(text));
    }

    [Fact]
    public void A_text_in_normal_form_comes_back_as_it_is()
    {
        var text = "Élan vital, 한국어 και 😀";
        Assert.Same(text, UnicodeNormalizer.OfForm("NFC").Normalize(text));
    }

    [Fact]
    public void A_long_run_of_combining_marks_is_sorted()
    {
        var text = "a" + string.Concat(Enumerable.Repeat("\u0301\u0327", 20_000));
        var expected = "a" + new string('\u0327', 20_000) + new string('\u0301', 20_000);
        Assert.Equal(expected, UnicodeNormalizer.OfForm("NFD").Normalize(text));
    }

    [Theory]
    [InlineData("""{"type":"Lowercase"}""", "ÀΣİ\ud801\udc00", "àσi\u0307\ud801\udc28")]
    [InlineData("""{"type":"Prepend","prepend":"▁"}""", "a", "▁a")]
    [InlineData("""{"type":"Prepend","prepend":"▁"}""", "", "")]
    [InlineData("""{"type":"Replace","pattern":{"String":"a"},"content":"bb"}""", "aca", "bbcbb")]
    [InlineData("""{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}""", "a   b  c d", "a b c d")]
    [InlineData("""{"type":"Strip","strip_left":true,"strip_right":false}""", "\u3000 a ", "a ")]
    [InlineData("""{"type":"StripAccents"}""", "e\u0301\u0327x", "ex")]
    [InlineData(
        """{"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"},{"type":"Lowercase"}]}""", "É",
        "e")]
    [InlineData("""{"type":"BertNormalizer"}""", "\u0000A\tB\u200b\ufffdé\ue000\u0378", "a be\u0378")]
    [InlineData("""{"type":"BertNormalizer","lowercase":false}""", "Éa\u4e00", "Éa \u4e00 ")]
    [InlineData("""{"type":"BertNormalizer","lowercase":false,"strip_accents":true}""", "É", "E")]
    [InlineData("""{"type":"BertNormalizer","strip_accents":false}""", "É\u0903", "é\u0903")]
    [InlineData(
        """{"type":"BertNormalizer","clean_text":false,"handle_chinese_chars":false}""", "\u0000\t\u4e00",
        "\u0000\t\u4e00")]
    public void Normalizers_do_as_the_originals(string json, string text, string expected)
    {
        var normalizer = NormalizerReader.Read(JsonPart.Parse(Encoding.UTF8.GetBytes(json), "test"));
        Assert.Equal(expected, normalizer.Normalize(text));
    }
}
