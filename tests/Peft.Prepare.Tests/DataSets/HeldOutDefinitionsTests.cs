using Peft.Prepare.DataSets;

namespace Peft.Prepare.Tests.DataSets;

public sealed class HeldOutDefinitionsTests
{
    private static readonly HeldOutDefinitions HeldOut =
        new(["the act of stoning", "a fish; lives in a river (or lake)"]);

    [Theory]
    [InlineData("The act of stoning. [Obs.] --Bp. Hall.")]
    [InlineData("1. Stones; \"The act, of stoning\": punishment.")]
    [InlineData("Salmon. A fish: lives in a river; or lake.")]
    public void A_definition_is_found_among_the_clauses_of_a_sense(string sense) => Assert.True(HeldOut.StandIn(sense));

    [Theory]
    [InlineData("The act of stoning someone.")]
    [InlineData("A fish; or lake; lives in a river.")]
    [InlineData("A fish.")]
    [InlineData("")]
    public void Part_of_a_definition_is_none(string sense) => Assert.False(HeldOut.StandIn(sense));
}
