namespace Peft.Torch.Tests.Tensors;

public sealed class CreationTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void Shapes_and_types_are_as_asked_for()
    {
        var tensor = torch.zeros([2, 0, 3], torch.float64);
        Assert.Equal([2, 0, 3], tensor.shape);
        Assert.Equal(torch.float64, tensor.dtype);
        Assert.Equal(torch.CPU, tensor.device);
        Assert.Equal(0, tensor.numel());
        Assert.Equal(3, tensor.ndim);
        Assert.Equal(3, tensor.size(-1));
        Assert.Equal("float64 [2, 0, 3] cpu", tensor.ToString());
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.size(3));
        Assert.Empty(tensor.data<double>());
    }

    [Fact]
    public void Plain_values_go_in_and_come_out_in_row_major_order()
    {
        var tensor = torch.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
        Assert.Equal(torch.int32, tensor.dtype);
        Assert.Equal([1, 4, 2, 5, 3, 6], tensor.t().data<int>());
        Assert.Equal(6, tensor[1, 2].item<int>());
        Assert.Equal([true, false], torch.tensor([true, false]).data<bool>());
        Assert.Equal(7L, torch.tensor(7L).item<long>());
        Assert.Empty(torch.tensor(2.5).shape);
    }

    [Fact]
    public void Ranges_follow_PyTorch()
    {
        Assert.Equal([0L, 1, 2], torch.arange(3).data<long>());
        Assert.Equal([2L, 4], torch.arange(2, 6, 2).data<long>());
        Assert.Equal([0.5f, 0.75f], torch.arange(0.5, 1.0, 0.25).data<float>());
        Assert.Equal([0f, 1], torch.arange(2, torch.float32).data<float>());
        Assert.Equal([0f, 0.5f, 1f], torch.linspace(0, 1, 3).data<float>());
        Assert.Equal([1f, 0, 0, 1], torch.eye(2).data<float>());
    }

    [Fact]
    public void Like_takes_shape_and_type_unless_told()
    {
        var source = torch.ones(2, 2, torch.bfloat16);
        Assert.Equal(torch.bfloat16, torch.zeros_like(source).dtype);
        Assert.Equal(torch.float32, torch.empty_like(source, torch.float32).dtype);
        Assert.Equal([3f, 3f, 3f, 3f], torch.full_like(source, 3, torch.float32).data<float>());
        Assert.True(torch.zeros([1], requires_grad: true).requires_grad);
    }

    [Fact]
    public void Bytes_of_the_wrong_size_are_refused()
    {
        var error = Assert.Throws<TorchException>(() => torch.from_bytes(new byte[7], [2], torch.float32));
        Assert.Equal("from_bytes: got 7 bytes, a tensor of shape [2] needs 8", error.Message);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.BFloat16)]
    public void Floating_types_compute_and_keep_their_type(ScalarType dtype)
    {
        var a = torch.tensor([1.0, 2, 3, 4], [2, 2], dtype);
        var product = a.matmul(a) + a * 0.5;
        Assert.Equal(dtype, product.dtype);
        Assert.Equal([7.5, 11, 16.5, 24], product.to(torch.float64).data<double>());
    }

    [Fact]
    public void Half_precision_is_stored_added_and_converted()
    {
        // libtorch 1.13 has no float16 matrix product on the CPU: elements only.
        var a = torch.tensor([1.0, 2.5], dtype: torch.float16);
        Assert.Equal([(Half)1.5, (Half)3.75], (a + (a * 0.5)).data<Half>());
        Assert.Equal([1.0, 2.5], a.to(torch.float64).data<double>());
    }

    [Fact]
    public void Reading_as_another_type_is_refused_with_the_way_out()
    {
        var tensor = torch.ones([1], torch.bfloat16);
        var error = Assert.Throws<InvalidOperationException>(() => tensor.item<float>());
        Assert.Equal("tensor of type bfloat16 - read as Single - allowed: UInt16 (the raw bits) - convert it first with "
            + "to(dtype), or read one number with ToDouble()", error.Message);
        Assert.Equal(0x3F80, tensor.item<ushort>());
        Assert.Equal(1.0, tensor.ToDouble());
        Assert.Throws<ArgumentException>(() => torch.ones(3).item<float>());
    }

    [Fact]
    public void Bytes_round_trip_from_a_view()
    {
        var view = torch.arange(12, torch.float32).reshape(3, 4).t();
        using var stream = new MemoryStream();
        view.WriteBytes(stream);
        Assert.Equal(view.ToBytes(), stream.ToArray());
        Assert.True(torch.from_bytes(stream.ToArray(), [4, 3], torch.float32).equal(view));
        var target = torch.zeros(4, 3);
        target.CopyFrom<float>(view.data<float>());
        Assert.True(target.equal(view));
    }

    [Theory]
    [InlineData("cpu", DeviceType.CPU, -1)]
    [InlineData("cuda", DeviceType.CUDA, 0)]
    [InlineData("cuda:3", DeviceType.CUDA, 3)]
    public void Devices_are_read_by_name(string text, DeviceType type, int index) =>
        Assert.Equal(new Device(type, index), torch.device(text));

    [Fact]
    public void An_unknown_device_is_refused()
    {
        var error = Assert.Throws<ArgumentException>(() => torch.device("gpu"));
        Assert.Equal("device - 'gpu' - allowed: cpu, cuda, cuda:N - name one of them", error.Message);
    }
}
