namespace Peft.Compare;

public sealed class SeedsAndRowsTests
{
    [Fact]
    public void Where_only_seeds_differ_it_is_the_t_test_over_seeds()
    {
        // Mean 3, standard deviation sqrt(2.5), five seeds: t = 3 / sqrt(0.5) with 4 degrees of freedom.
        var found = SeedsAndRows.Of([[[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4], [5, 5, 5]]]);
        Assert.Equal(3, found.Mean, 12);
        Assert.Equal(3 - 2.776445105 * Math.Sqrt(0.5), found.Low, 6);
        Assert.Equal(3 + 2.776445105 * Math.Sqrt(0.5), found.High, 6);
        Assert.Equal(0.01324, found.P, 5);
    }

    [Fact]
    public void Where_only_rows_differ_it_is_the_t_test_over_rows()
    {
        var found = SeedsAndRows.Of([[[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]]);
        Assert.Equal(3, found.Mean, 12);
        Assert.Equal(3 - 2.776445105 * Math.Sqrt(0.5), found.Low, 6);
        Assert.Equal(found, SeedsAndRows.Of([[[1, 2, 3, 4, 5]]]));
    }

    // Worked out in another language from the mean squares; the quantile by integrating the density.
    [Fact]
    public void Tasks_count_alike_and_what_seeds_and_rows_share_is_counted_once()
    {
        var found = SeedsAndRows.Of(
        [
            [[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]],
            [[0.5, 0, 0.25], [1, 0, 0.5], [0.75, 0.5, 0.5]],
        ]);
        Assert.Equal(0.5972222222, found.Mean, 9);
        Assert.Equal(0.2268171585, found.Low, 6);
        Assert.Equal(0.9676272860, found.High, 6);
        Assert.Equal(0.0101587778, found.P, 6);
    }

    [Fact]
    public void Nothing_speaks_against_no_difference_at_all()
    {
        Assert.Equal(new SeedsAndRows(0, 0, 0, 1), SeedsAndRows.Of([[[0, 0], [0, 0]]]));
    }
}
