namespace Peft.Tests;

/// <summary>A count of live tensors to compare with.</summary>
internal static class LiveTensors
{
    /// <summary>
    /// The count once nothing that earlier tests left to the collector is still waiting for its finalizer.
    /// </summary>
    public static long Settled()
    {
        for (var before = long.MaxValue; ;)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            if (Tensor.TotalCount == before)
                return before;
            before = Tensor.TotalCount;
        }
    }

    /// <summary>
    /// That nothing is left over. Fewer than before may live: what an earlier test held until its object was collected.
    /// </summary>
    public static void AssertNoMoreThan(long before) => Assert.InRange(TorchRuntime.LiveTensorCount, 0, before);
}
