using Peft.Torch.Interop;

namespace Peft.Torch.Tests.Interop;

public class ErrorTests
{
    [Theory]
    [InlineData(0, "throw_for_test: a c10 error with 2 parts", false)]
    [InlineData(1, "throw_for_test: out of memory", true)]
    [InlineData(2, "throw_for_test: an index out of range", false)]
    [InlineData(3, "throw_for_test: an exception of unknown kind", false)]
    public void Every_kind_of_native_exception_arrives_as_one_managed_exception(int kind, string message, bool outOfMemory)
    {
        var error = Assert.Throws<TorchException>(() => NativeMethods.pt_throw_for_test(kind));
        Assert.Equal(message, error.Message);
        Assert.Equal("throw_for_test", error.Operation);
        Assert.Equal(outOfMemory, error.IsOutOfMemory);
    }

    [Fact]
    public void A_shape_mismatch_names_the_operation_and_both_shapes()
    {
        using var scope = torch.NewDisposeScope();
        var error = Assert.Throws<TorchException>(() => torch.ones(2, 3).matmul(torch.ones(4, 5)));
        Assert.Equal("matmul", error.Operation);
        Assert.Contains("2x3 and 4x5", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_message_longer_than_the_first_buffer_arrives_whole()
    {
        var path = "/nowhere/" + new string('x', 3000);
        var error = Assert.Throws<TorchException>(() => torch.from_file(path, 0, [1], torch.float32));
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Asking_for_more_memory_than_there_is_says_so()
    {
        var error = Assert.Throws<TorchException>(() => torch.empty([1L << 50]));
        Assert.True(error.IsOutOfMemory, error.Message);
    }

    [Fact]
    public void A_disposed_tensor_is_refused()
    {
        var tensor = torch.ones(2);
        tensor.Dispose();
        Assert.True(tensor.IsInvalid);
        Assert.Throws<ObjectDisposedException>(() => tensor.exp());
        Assert.Equal("disposed tensor", tensor.ToString());
    }

    [Fact]
    public void Errors_leave_no_tensor_behind()
    {
        var before = LiveTensors.Settled();
        using (torch.NewDisposeScope())
        {
            var a = torch.ones(2, 3);
            for (var i = 0; i < 10; i++) Assert.Throws<TorchException>(() => a.view(7));
        }

        Assert.Equal(before, torch.LiveTensorCount);
    }

    [Fact]
    public void Messages_of_threads_do_not_mix()
    {
        Parallel.For(0, 64, i =>
        {
            var error = Assert.Throws<TorchException>(() => torch.from_file($"/nowhere/{i}", 0, [1], torch.float32));
            Assert.Contains($"'/nowhere/{i}'", error.Message, StringComparison.Ordinal);
        });
    }
}
