namespace Peft.Torch;

/// <summary>Operations that cost less as one than composed, with gradients of their own. On the CPU they run over the tensors' memory; on
/// other devices, and for types without a kernel, they are composed of TorchSharp's.</summary>
public static partial class Fused
{
}
