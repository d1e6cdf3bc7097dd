// The class shares its namespace's name, which would hide it here.
global using F = Peft.Torch.Fused.Fused;

// The count of live tensors is the whole program's: tests that compare it must run alone.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
