using Peft.Models.Loading;
using Peft.Formats;

namespace Peft.Recipes.Tests;

public sealed class DevicesTests
{
    [Fact]
    public void Cpu_is_always_there() => Assert.Equal(DeviceType.CPU, Devices.Choose("cpu").type);

    [Theory]
    [InlineData("gpu")]
    [InlineData("cuda:x")]
    [InlineData("cuda:-1")]
    [InlineData("")]
    public void A_name_that_is_no_device_is_refused(string name) => Assert.Equal(
        $"--device: '{name}'; expected auto, cpu or cuda:N.",
        Assert.Throws<UserException>(() => Devices.Choose(name)).Message);

    [Fact]
    public void A_gpu_that_is_not_there_is_refused()
    {
        var message = Assert.Throws<UserException>(() => Devices.Choose("cuda:99")).Message;
        Assert.StartsWith(
            torch.cuda.is_available() ? "--device: cuda:99; expected cuda:0"
                : "--device cuda:99: no CUDA device is usable here (libtorch ",
            message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_type_is_what_the_recipe_says_or_the_files_where_it_is_fast()
    {
        Assert.Equal(ScalarType.BFloat16, MachineTypes.Choose("bfloat16", ScalarType.Float32, torch.CPU));
        Assert.Equal(ScalarType.Float32, MachineTypes.Choose("auto", ScalarType.Float32, torch.CPU));
        Assert.Equal(ScalarType.Float32, MachineTypes.Choose("auto", ScalarType.Float16, torch.CPU));
        Assert.Equal(
            MachineTypes.IsFast(ScalarType.BFloat16, torch.CPU) ? ScalarType.BFloat16 : ScalarType.Float32,
            MachineTypes.Choose("auto", ScalarType.BFloat16, torch.CPU));
        Assert.All(
            ModelOptions.Dtypes.Where(name => name != "auto"),
            name => Assert.Equal(name, DtypeNames.Parse(name).ToString(), ignoreCase: true));
    }
}
