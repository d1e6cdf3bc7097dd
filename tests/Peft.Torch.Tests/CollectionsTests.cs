namespace Peft.Torch.Tests;

/// <summary>What native code was given stays while it runs.</summary>
public sealed class CollectionsTests
{
    [Fact]
    public void A_test_host_seldom_collects() =>
        Assert.Equal("10000000", Collections.AtStart); // where not: tests/test.runsettings was left out

    [Fact]
    public void Programs_that_tests_start_collect_as_for_users() =>
        Assert.Null(Environment.GetEnvironmentVariable(Collections.Variable));
}
