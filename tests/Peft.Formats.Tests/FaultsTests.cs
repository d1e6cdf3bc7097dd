using Peft.Formats.Files;

namespace Peft.Formats.Tests;

public sealed class FaultsTests
{
    [Fact]
    public void All_faults_are_told_at_once_in_columns()
    {
        var faults = new Faults();
        faults.Add("line 3  adapter.r", "0", "a whole number of at least 1");
        faults.Add("line 12  training.learning_rate", "'fast'", "a number", "write 1e-4");

        var error = Assert.Throws<FaultsException>(() => faults.ThrowIfAny("recipe.yaml"));

        Assert.Equal(
            """
            recipe.yaml has 2 faults:
              line 3  adapter.r                0; expected a whole number of at least 1.
              line 12  training.learning_rate  'fast'; expected a number. Write 1e-4.
            """,
            error.Message);
        Assert.Equal(2, error.Items.Count);
    }

    [Fact]
    public void One_fault_is_told_in_the_singular()
    {
        var faults = new Faults();
        faults.Add("r", "missing", "a whole number");
        Assert.Equal(
            "x has 1 fault:\n  r  missing; expected a whole number.",
            Assert.Throws<FaultsException>(() => faults.ThrowIfAny("x")).Message);
    }

    [Fact]
    public void After_fifty_faults_the_rest_is_counted()
    {
        var faults = new Faults();
        for (var i = 0; i < 53; i++)
            faults.Add($"key{i}", "a", "b");
        var message = Assert.Throws<FaultsException>(() => faults.ThrowIfAny("x")).Message;
        Assert.StartsWith("x has 53 faults:", message, StringComparison.Ordinal);
        Assert.EndsWith("\n  ... and 3 more", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_faults_nothing_is_thrown() => new Faults().ThrowIfAny("x");

    [Fact]
    public void A_fault_reads_as_one_line() =>
        Assert.Equal("r: 0; expected at least 1. Use 8.", new Fault("r", "0", "at least 1", "use 8").ToString());

    [Theory]
    [InlineData("{\"n\": }", "line 1")]
    [InlineData("{\n\"n\": \"x\"}", "line 2 at 'n': a value of another type")]
    [InlineData("{}", "keys are missing: 'n'")]
    public void What_is_wrong_with_json_is_told_without_names_of_types(string json, string expected)
    {
        var options = new System.Text.Json.JsonSerializerOptions
        {
            RespectRequiredConstructorParameters = true, PropertyNameCaseInsensitive = true
        };
        var error = Assert.Throws<System.Text.Json.JsonException>(
            () => System.Text.Json.JsonSerializer.Deserialize<Numbered>(json, options));
        Assert.Contains(expected, JsonFile.Reason(error), StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("System", JsonFile.Reason(error), StringComparison.Ordinal);
        Assert.DoesNotContain("BytePosition", JsonFile.Reason(error), StringComparison.Ordinal);
    }

    private sealed record Numbered(int N);

    [Theory]
    [InlineData("lora_alhpa", "lora_alpha")] // neighbours swapped
    [InlineData("Learning_Rate", "learning_rate")]
    [InlineData("learningrate", "learning_rate")]
    [InlineData("rr", "r")]
    [InlineData("qqqqqq", null)]
    [InlineData("", null)]
    public void The_nearest_name_is_found_and_no_far_one(string given, string? expected) =>
        Assert.Equal(expected, NearestName.Of(given, ["r", "lora_alpha", "learning_rate"]));

    [Fact]
    public void A_very_long_name_is_near_to_nothing() =>
        Assert.Null(NearestName.Of(new string('a', 100_000), [new string('a', 100_000)]));

    [Fact]
    public void Quoted_text_cannot_disturb_the_terminal()
    {
        Assert.Equal("'a\\u001b[31mb'", Quote.Of("a\u001b[31mb"));
        Assert.Equal($"'{new string('x', 100)}...'", Quote.Of(new string('x', 5000)));
    }

    [Fact]
    public void Faults_are_told_in_the_order_of_their_lines_and_those_without_a_line_last()
    {
        var faults = new Faults();
        foreach (var place in (string[])["line 12  b", "c", "line 2  a", "line 12  a", "lines  d"])
            faults.Add(place, "wrong");
        Assert.Equal(
            """
            x has 5 faults:
              line 2  a   wrong.
              line 12  b  wrong.
              line 12  a  wrong.
              c           wrong.
              lines  d    wrong.
            """, Assert.Throws<FaultsException>(() => faults.ThrowIfAny("x")).Message);
    }

    [Fact]
    public void A_file_that_is_wrong_throughout_fills_no_memory()
    {
        var faults = new Faults();
        for (var i = 0; i < 100_000; i++)
            faults.Add($"key{i}", "a", "b");
        Assert.Equal(1000, faults.Items.Count);
        Assert.StartsWith(
            "x has 100000 faults:", Assert.Throws<FaultsException>(() => faults.ThrowIfAny("x")).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Escaped_text_keeps_its_lines_and_moves_no_cursor()
    {
        Assert.Equal("a\\u001b[31mb\\u0000\n\tc\\u009b", Quote.Escaped("a\u001b[31mb\u0000\n\tc\u009b"));
        Assert.Same("plain \u00e9", Quote.Escaped("plain \u00e9"));
    }
}
