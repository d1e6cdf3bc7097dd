// Live tensors are counted for the whole process, so tests that compare counts must run alone.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
