using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: functions of layers.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_linear(TensorHandle x, TensorHandle weight, TensorHandle bias,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_embedding(TensorHandle weight, TensorHandle ids, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_dropout(TensorHandle x, double p, GeneratorHandle random,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_softmax(TensorHandle x, long dim, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_log_softmax(TensorHandle x, long dim, int dtype, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_layer_norm(TensorHandle x, ReadOnlySpan<long> shape, int shapeCount,
        TensorHandle weight, TensorHandle bias, double eps, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_cross_entropy(TensorHandle logits, TensorHandle target, long ignoreIndex,
        int reduction, double labelSmoothing, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_nll_loss(TensorHandle logProbabilities, TensorHandle target, long ignoreIndex,
        int reduction, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_mse_loss(TensorHandle input, TensorHandle target, int reduction,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_gelu(TensorHandle x, [MarshalAs(UnmanagedType.Bool)] bool tanh,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_silu(TensorHandle x, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_softplus(TensorHandle x, double beta, double threshold,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_log_sigmoid(TensorHandle x, out TensorHandle result);
}
