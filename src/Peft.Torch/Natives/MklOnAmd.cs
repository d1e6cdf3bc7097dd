using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text;

namespace Peft.Torch.Natives;

/// <summary>Lets MKL take its fast kernels on AMD processors. MKL, which is a part of libtorch, asks the processor for
/// its maker's name and keeps kernels written for AVX2 and AVX-512 from all makers but one: float32 products at less
/// than half the speed.</summary>
internal static unsafe class MklOnAmd
{
    /// <summary>Set to 1, MKL is left as it is.</summary>
    internal const string AsIsVariable = "PEFT_MKL_AS_IS";

    /// <summary>What was done, for <c>peft doctor</c>.</summary>
    internal static string State { get; private set; } = "not loaded";

    // mov eax, [rip + where]; test eax, eax; js ask; ret: the function answers from a variable of its own once it has
    // asked the processor.
    private static ReadOnlySpan<byte> Load => [0x8b, 0x05];

    private static ReadOnlySpan<byte> TestAndReturn => [0x85, 0xc0, 0x78, 0x01, 0xc3];

    /// <summary>Gives the answer in advance, where that gains something. Not a byte of code is changed: the answer goes
    /// where MKL would keep its own. Must come before MKL's first product.</summary>
    /// <param name="kernels">Handle of libtorch_cpu.</param>
    internal static void Mend(nint kernels) =>
        State = Mend(kernels, Maker, Environment.GetEnvironmentVariable(AsIsVariable) == "1");

    internal static string Mend(nint kernels, string maker, bool asIs)
    {
        if (maker != "AuthenticAMD") return $"fast kernels (processor by {maker})";
        if (asIs) return $"slow kernels, as {AsIsVariable}=1 asks; float32 products run at about half speed";
        if (!NativeLibrary.TryGetExport(kernels, "mkl_serv_intel_cpu_true", out var function))
            return "this libtorch has no MKL, or keeps it elsewhere";
        if (AnswerOf(new ReadOnlySpan<byte>((void*)function, 11)) is not { } distance)
        {
            return "slow kernels: the MKL of this libtorch is not the known build; float32 products run at about half "
                + "speed";
        }
        *(int*)(function + distance) = 1;
        return ((delegate* unmanaged<int>)function)() == 1
            ? $"fast kernels, switched on for AMD ({AsIsVariable}=1 leaves MKL as it is)"
            : "slow kernels: MKL did not let them be switched on for AMD; float32 products run at about half speed";
    }

    /// <summary>How far from the function's start it keeps its answer; null when its code is not as expected.</summary>
    internal static int? AnswerOf(ReadOnlySpan<byte> code) =>
        code.StartsWith(Load) && code[6..].StartsWith(TestAndReturn)
        ? 6 + BinaryPrimitives.ReadInt32LittleEndian(code[2..]) : null;

    private static string Maker
    {
        get
        {
            var (_, ebx, ecx, edx) = X86Base.CpuId(0, 0);
            Span<byte> name = stackalloc byte[12];
            BinaryPrimitives.WriteInt32LittleEndian(name, ebx);
            BinaryPrimitives.WriteInt32LittleEndian(name[4..], edx);
            BinaryPrimitives.WriteInt32LittleEndian(name[8..], ecx);
            return Encoding.ASCII.GetString(name);
        }
    }
}
