namespace Peft.Torch;

public static partial class Gradients
{
    /// <summary>One norm over the gradients of all parameters; where it is larger than max_norm the gradients are scaled by max_norm /
    /// (norm + 1e-6). Waits for the device once. Source: torch.nn.utils.clip_grad_norm_.</summary>
    /// <returns>The norm before scaling; 0 without gradients; NaN or infinity where a gradient is.</returns>
    public static double clip_grad_norm_(IEnumerable<Tensor> parameters, double max_norm, double norm_type = 2)
    {
        using var scope = torch.NewDisposeScope();
        using var outside = torch.no_grad();
        var gradients = parameters.Select(p => p.grad).OfType<Tensor>().ToList();
        if (gradients.Count == 0) return 0;
        var device = gradients[0].device;
        var norms = gradients.Select(g => torch.linalg.vector_norm(Wide(g), norm_type).to(ScalarType.Float64, device)).ToList();
        var total = torch.linalg.vector_norm(torch.stack(norms), norm_type);
        var norm = total.ToDouble();
        if (norm + 1e-6 <= max_norm) return norm;
        using Scalar factor = (max_norm / (norm + 1e-6)).ToScalar();
        foreach (var gradient in gradients) gradient.mul_(factor);
        return norm;
    }

    /// <summary>Norms of reduced types are summed in float32.</summary>
    private static Tensor Wide(Tensor gradient) =>
        gradient.dtype is ScalarType.Float64 or ScalarType.Float32 ? gradient : gradient.to(ScalarType.Float32);
}
