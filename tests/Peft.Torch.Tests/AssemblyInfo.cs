// The count of live tensors is the whole program's: tests that compare it must run alone.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
