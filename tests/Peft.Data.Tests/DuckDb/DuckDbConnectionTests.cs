using Peft.Data.DuckDb;

namespace Peft.Data.Tests.DuckDb;

public class DuckDbConnectionTests
{
    [Theory]
    [InlineData("SELECT * FROM read_csv('/etc/passwd')")]
    [InlineData("SELECT * FROM read_text('/etc/hostname')")]
    [InlineData("SELECT * FROM read_parquet('http://127.0.0.1:9/a.parquet')")]
    [InlineData("SELECT * FROM read_csv('s3://bucket/a.csv')")]
    public void Nothing_but_the_given_files_can_be_read(string sql)
    {
        using var connection = DuckDbConnection.Open();
        var error = Assert.Throws<DuckDbException>(() => Drain(connection.Query(sql)));
        Assert.Contains("disabled by configuration", error.Message);
    }

    [Theory]
    [InlineData("COPY (SELECT 1) TO '/tmp/peft-must-not-exist.csv'")]
    [InlineData("CREATE TABLE t (a INTEGER)")]
    [InlineData("SET threads = 2")]
    [InlineData("INSTALL httpfs")]
    public void Only_queries_are_allowed(string sql)
    {
        using var connection = DuckDbConnection.Open();
        Assert.Throws<DuckDbException>(() => Drain(connection.Query(sql)));
        Assert.False(File.Exists("/tmp/peft-must-not-exist.csv"));
    }

    [Fact]
    public void Several_statements_are_refused()
    {
        using var connection = DuckDbConnection.Open();
        Assert.Throws<DuckDbException>(() => Drain(connection.Query("SELECT 1; SELECT 2")));
    }

    [Fact]
    public void Texts_short_and_long_and_missing_come_as_they_are()
    {
        using var connection = DuckDbConnection.Open();
        using var reader = connection.Query(
            "SELECT * FROM (VALUES ('', true, 1), ('zwölf bytes', false, 2), (repeat('ä', 100), NULL, NULL), (NULL, true, -3)) t(a, b, c)"
            .Replace("1)", "1::BIGINT)"));
        Assert.True(reader.ReadChunk());
        Assert.Equal(["", "zwölf bytes", new string('ä', 100), null], Enumerable.Range(0, 4).Select(row => reader.Text(0, row, out _)));
        Assert.Equal([true, false, false, true], Enumerable.Range(0, 4).Select(row => reader.Boolean(1, row)));
        Assert.Equal([1L, 2, 0, -3], Enumerable.Range(0, 4).Select(row => reader.Integer(2, row)));
        Assert.Throws<ArgumentOutOfRangeException>(() => reader.IsNull(0, 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => reader.IsNull(3, 0));
        Assert.False(reader.ReadChunk());
    }

    [Fact]
    public void Bytes_that_are_not_utf8_are_told_from_missing_ones()
    {
        using var connection = DuckDbConnection.Open();
        using var reader = connection.Query(@"SELECT * FROM (VALUES ('\xC3\xA9'::BLOB), ('\xC3'::BLOB), (NULL)) t(a)");
        Assert.True(reader.ReadChunk());
        Assert.Equal("é", reader.Text(0, 0, out var first));
        Assert.Null(reader.Text(0, 1, out var second));
        Assert.Null(reader.Text(0, 2, out var third));
        Assert.Equal([true, false, true], [first, second, third]);
    }

    [Fact]
    public void A_large_result_streams_in_chunks()
    {
        using var connection = DuckDbConnection.Open();
        using var reader = connection.Query("SELECT range::BIGINT FROM range(1000000)");
        var (sum, chunks) = (0L, 0);
        while (reader.ReadChunk())
        {
            Assert.InRange(reader.RowCount, 1, 2048);
            chunks++;
            for (var row = 0; row < reader.RowCount; row++)
                sum += reader.Integer(0, row);
        }

        Assert.Equal(499999500000, sum);
        Assert.InRange(chunks, 400, 600);
    }

    [Fact]
    public void An_error_in_the_middle_of_a_scan_is_thrown()
    {
        using var connection = DuckDbConnection.Open();
        using var reader = connection.Query("SELECT CAST(CASE WHEN range < 2000000 THEN '1' ELSE 'x' || range END AS BIGINT) FROM range(3000000)");
        Assert.Throws<DuckDbException>(() => { while (reader.ReadChunk()) { } });
    }

    [Fact]
    public void Names_and_texts_are_quoted()
    {
        Assert.Equal("'it''s'", DuckDbConnection.SqlText("it's"));
        Assert.Equal("\"a \"\"b\"\"\"", DuckDbConnection.SqlName("a \"b\""));
    }

    private static void Drain(DuckDbReader reader)
    {
        using (reader)
        {
            while (reader.ReadChunk())
            {
            }
        }
    }
}
