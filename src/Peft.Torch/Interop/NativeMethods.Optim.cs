using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: optimizer steps over lists of parameters.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_adamw_step(TensorListHandle parameters, TensorListHandle expAvgs,
        TensorListHandle expAvgSqs, Span<long> steps, int stepsCount, double lr, double beta1, double beta2,
        double eps, double weightDecay);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_sgd_step(TensorListHandle parameters, TensorListHandle momentumBuffers,
        Span<long> steps, int stepsCount, double lr, double momentum, double dampening, double weightDecay,
        [MarshalAs(UnmanagedType.Bool)] bool nesterov);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_clip_grad_norm(TensorListHandle parameters, double maxNorm, double normType,
        out double norm);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_total_norm(TensorListHandle items, double normType, out double norm);
}
