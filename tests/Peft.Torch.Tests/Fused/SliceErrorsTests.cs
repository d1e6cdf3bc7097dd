namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class SliceErrorsTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(11);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    [Theory]
    [InlineData(ScalarType.Float64, 4, 64, 40, 203, 1e-6)]
    [InlineData(ScalarType.Float32, 4, 64, 40, 203, 1e-5)]
    [InlineData(ScalarType.Float32, 7, 63, 33, 5, 1e-5)]
    [InlineData(ScalarType.Float32, 48, 96, 4096, 67, 1e-5)] // four rows of the products at a time
    [InlineData(ScalarType.Float16, 4, 64, 40, 203, 0.01)]
    [InlineData(ScalarType.BFloat16, 4, 64, 40, 203, 0.03)]
    public void Errors_are_those_of_the_slices_products(
        ScalarType dtype, int slices, int inner, int outputs, int rows, double tolerance) =>
        Check.WithAndWithoutKernels(() =>
    {
        var (x, weight) = (Check.Leaf(_random, dtype, 1, rows, inner), Check.Leaf(_random, dtype, outputs, inner));
        var errors = F.slice_errors(x, weight, slices, 0.4);
        Assert.Equal(ScalarType.Float32, errors.dtype);
        Assert.False(errors.requires_grad);
        var (left, right) = (x.to(ScalarType.Float64).view(rows, slices, -1),
            weight.to(ScalarType.Float64).view(outputs, slices, -1));
        var products = torch.einsum("nsw,osw->nso", left, right);
        Check.Near(errors, (products - 0.4 * products.sum(1, keepdim: true)).square().mean([2L]), tolerance);
    });

    [Fact]
    public void Slices_that_do_not_divide_are_refused()
    {
        var error = Assert.Throws<ArgumentException>(() => F.slice_errors(
            torch.ones(2, 6), torch.ones(3, 6), 4, 0.5));
        Assert.Equal("4 slices do not divide the 6 inner numbers of x", error.Message);
    }
}
