using Peft.Adapters.Routing;

namespace Peft.Adapters.Tests.Routing;

/// <summary>RoMA's term, to 1e-5.</summary>
public sealed class ManifoldLossTests : TensorTests
{
    [Fact]
    public void A_row_is_drawn_to_the_routing_of_its_nearest()
    {
        var golden = Golden.Case("secondary.json", "roma_manifold_loss");
        var (routing, embedding) = (golden.Input("routing"), golden.Input("embedding"));
        var k = (int)golden.Parameter("k");
        var (rows, weights) = ManifoldLoss.Neighbors(
            embedding, torch.arange(0, 4, 1, ScalarType.Int64), k, golden.Parameter("sigma"));
        Tensor Loss(Tensor own) => ManifoldLoss.PerRow(
            own, routing.index_select(0, rows.reshape(-1)).reshape(4, k, -1), weights);

        Golden.Near(golden.Expected("loss"), Loss(routing));
        // Neighbours are fixed targets: the gradient is 2 Σ W (r − r_j).
        Differences.Agree(own => Loss(own).sum(), routing, step: 1e-3, tolerance: 1e-2);
    }

    [Fact]
    public void Only_rows_that_are_answered_are_neighbours_and_no_row_is_its_own()
    {
        var embeddings = torch.tensor(new[] { 0f, 0.1f, 0.2f, 9f }, [4, 1]);

        var (rows, weights) = ManifoldLoss.Neighbors(embeddings, torch.tensor(new long[] { 0, 2 }), 3, 0.01);
        var (_, alone) = ManifoldLoss.Neighbors(embeddings, torch.tensor(new long[] { 1 }), 3, 0.01);

        Assert.Equal([4, 2], rows.shape);
        Assert.Equal([2, 0, 0, 2], rows.select(1, 0).data<long>().ToArray().Select((row, i) => i == 1 ? 0 : row));
        // Of two answered rows each has the other alone, and a far row still has its nearest.
        Golden.Near(torch.tensor(new[] { 1f, 1f, 1f }), weights.select(1, 0).index_select(
            0, torch.tensor(new long[] { 0, 2, 3 })));
        Golden.Near(torch.tensor(new[] { 1f, 0f, 1f, 1f }, [4, 1]), alone);
    }
}
