global using Peft.Torch;

// libtorch uses every core by itself, and one test counts the live tensors of the whole process.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
