namespace Peft.Torch.Tests.Natives;

/// <summary>libtorch in use.</summary>
public sealed class TorchRuntimeTests
{
    [Fact]
    public void Libtorch_computes_and_says_what_it_is()
    {
        using var scope = torch.NewDisposeScope();
        var product = torch.mm(torch.ones(3, 4), torch.full([4, 2], 0.5f));
        Assert.Equal([2f, 2f, 2f, 2f, 2f, 2f], product.data<float>().ToArray());
        Assert.StartsWith("2.10.", TorchRuntime.Version, StringComparison.Ordinal);
        Assert.EndsWith("libtorch_cpu.so", TorchRuntime.LibraryPath, StringComparison.Ordinal);
    }

    [Fact]
    public void Starting_twice_changes_nothing_and_threads_can_be_set()
    {
        var threads = TorchRuntime.Threads;
        TorchRuntime.Start();
        Assert.Equal(threads, TorchRuntime.Threads);
        TorchRuntime.Threads = 1;
        Assert.Equal(1, torch.get_num_threads());
        TorchRuntime.Start(threads);
        Assert.Equal(threads, torch.get_num_threads());
    }
}
