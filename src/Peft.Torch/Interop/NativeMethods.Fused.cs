using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: fused operations.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_lora_mixture_linear(TensorHandle x, TensorHandle weight, TensorHandle bias,
        TensorHandle a, TensorHandle b, TensorHandle gates, TensorHandle loraInput, double scale,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_linear_cross_entropy(TensorHandle hidden, TensorHandle weight,
        TensorHandle targets, long chunkRows, double softcap, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_rms_norm(TensorHandle x, TensorHandle weight, double eps,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_swiglu(TensorHandle gate, TensorHandle up, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_rotary(TensorHandle x, TensorHandle cos, TensorHandle sin,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_causal_attention(TensorHandle q, TensorHandle k, TensorHandle v,
        TensorHandle mask, double scale, [MarshalAs(UnmanagedType.Bool)] bool causal, long offset, long window,
        double softcap, ReadOnlySpan<long> segments, int segmentsCount, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_fused_set_loops([MarshalAs(UnmanagedType.Bool)] bool enabled);
}
