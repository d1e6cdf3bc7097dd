using System.Globalization;
using System.Runtime.InteropServices;

namespace Peft.Torch.Tests.Natives;

/// <summary>MKL's choice of kernels on AMD.</summary>
public sealed class MklOnAmdTests
{
    [Fact]
    public void Products_are_the_same_with_and_without_the_answer_given_in_advance()
    {
        // On an Intel processor both are MKL as it is.
        var mended = Product([]);
        var asIs = Product(["PEFT_MKL_AS_IS=1"]);
        Assert.Equal(61 * 93, mended.Length);
        Assert.All(mended.Zip(asIs), pair => Assert.Equal(pair.First, pair.Second, 2e-5f));
    }

    [Fact]
    public void The_place_of_the_answer_is_read_from_the_function_or_nothing_is_done()
    {
        // mov eax, [rip + 0x100]; test eax, eax; js +1; ret
        byte[] code = [0x8b, 0x05, 0x00, 0x01, 0x00, 0x00, 0x85, 0xc0, 0x78, 0x01, 0xc3];
        Assert.Equal(0x106, MklOnAmd.AnswerOf(code));
        for (var i = 0; i < code.Length; i++)
        {
            if (i is >= 2 and < 6) continue;
            var other = (byte[])code.Clone();
            other[i] ^= 1;
            Assert.Null(MklOnAmd.AnswerOf(other));
        }
    }

    [Fact]
    public void The_state_says_what_was_done_and_what_it_costs()
    {
        var libc = NativeLibrary.Load("libc.so.6");
        Assert.Equal("fast kernels (processor by GenuineIntel)", MklOnAmd.Mend(libc, "GenuineIntel", asIs: false));
        Assert.Equal(
            "slow kernels, as PEFT_MKL_AS_IS=1 asks; float32 products run at about half speed",
            MklOnAmd.Mend(libc, "AuthenticAMD", asIs: true));
        Assert.Equal(
            "this libtorch has no MKL, or keeps it elsewhere", MklOnAmd.Mend(libc, "AuthenticAMD", asIs: false));
    }

    [Fact]
    public void The_libtorch_in_use_is_one_whose_MKL_is_known()
    {
        var kernels = NativeLibrary.Load(Path.Combine(TempNatives.Real, NativeFiles.Kernels));
        Assert.StartsWith(
            "fast kernels, switched on for AMD", MklOnAmd.Mend(kernels, "AuthenticAMD", asIs: false),
                StringComparison.Ordinal);
    }

    private static float[] Product(string[] environment)
    {
        var (code, output, error) = ChildProgram.Run(null, environment, "product");
        Assert.Equal((0, ""), (code, error));
        return [.. output.Split(' ').Select(text => float.Parse(text, CultureInfo.InvariantCulture))];
    }
}
