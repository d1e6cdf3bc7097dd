using Peft.Torch.Interop;

namespace Peft.Torch;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>Helpers around training.</summary>
        public static class utils
        {
            /// <summary>One norm over the gradients of all parameters; where it is larger than max_norm the gradients
            /// are scaled
            /// by max_norm / (norm + 1e-6). Waits for the device once. Source:
            /// torch.nn.utils.clip_grad_norm_.</summary>
            /// <returns>The norm before scaling; 0 without gradients; NaN or infinity where a gradient is.</returns>
            public static double clip_grad_norm_(
                IEnumerable<Tensor> parameters, double max_norm, double norm_type = 2)
            {
                using var list = TensorListHandle.Of(parameters);
                NativeMethods.pt_clip_grad_norm(list, max_norm, norm_type, out var norm);
                return norm;
            }
        }
    }
}
