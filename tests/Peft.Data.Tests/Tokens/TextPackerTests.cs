using Peft.Data.Tables;
using Peft.Data.Tokens;

namespace Peft.Data.Tests.Tokens;

public class TextPackerTests
{
    [Fact]
    public void Texts_are_joined_by_end_tokens_and_cut_in_blocks_without_loss()
    {
        var packer = new TextPacker(Given.Characters, 6, addEos: true);
        var blocks = packer.Add("abc", 0, Row(1)).Concat(
            packer.Add("defghij", 0, Row(2))).Concat(packer.Add("k", 0, Row(3))).ToList();
        blocks.Add(packer.Finish()!);
        Assert.Equal(["<abc>d", "<efghi", "<j>k>"], blocks.Select(block => Given.Text(block.Ids)));
        Assert.Equal([1L, 2, 2], blocks.Select(block => block.Row.Row));
        Assert.All(blocks, block => Assert.Equal((1, 0), (block.Learned[0].Start, block.CutTokens)));
        Assert.Null(packer.Finish());
    }

    [Fact]
    public void A_begin_or_end_that_a_text_spells_out_stands_once()
    {
        var packer = new TextPacker(Given.Characters, 6, addEos: true);
        var blocks = packer.Add("\u0001abc\u0002", 0, Row(1)).Concat(packer.Add("d", 0, Row(2)))
            .Select(block => Given.Text(block.Ids)).ToList();
        Assert.Equal(["<abc>d"], blocks);
    }

    [Fact]
    public void A_last_block_that_has_nothing_to_learn_is_left_out()
    {
        var packer = new TextPacker(Given.NoSpecials, 4, addEos: false);
        Assert.Equal(["abcd"], packer.Add("abcde", 0, Row(1)).Select(block => Given.Text(block.Ids)));
        Assert.Null(packer.Finish());
        Assert.Equal(1, packer.Left);
    }

    private static RowId Row(long row) => new("t.txt", row);
}
