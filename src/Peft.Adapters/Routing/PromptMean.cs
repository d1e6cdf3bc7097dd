using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>The mean of a sequence's prompt, for what is decided once a sequence.</summary>
public static class PromptMean
{
    /// <summary>The mean input of each sequence's prompt tokens; while decoding, that of the prompt once more.</summary>
    /// <remarks>Shapes: x [B, T, D] → [B, D] float32. Gradient: none.</remarks>
    /// <exception cref="ArgumentException">x has no sequences.</exception>
    /// <exception cref="UserException">Several sequences share a row.</exception>
    public static Tensor Of(Tensor x, ForwardPass pass, string path)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(pass);
        if (x.ndim != 3)
            throw new ArgumentException($"{path}: input has {x.ndim} dimensions; a decision for each sequence needs [B, T, D]", nameof(x));
        if (pass.Segments is not null)
            throw new UserException(
                $"{path}: adapter.router.granularity sequence decides once a row, and data.packing puts several sequences into one - turn packing "
                + "off, or write granularity: token");
        return pass.Cache is { } cache ? cache.Once($"{path}.prompt_mean", () => Mean(x, pass)) : Mean(x, pass);
    }

    private static Tensor Mean(Tensor x, ForwardPass pass)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var wide = x.detach().to(torch.float32);
        if ((pass.PromptMask ?? pass.TokenMask) is not { } mask)
            return wide.mean([1]).MoveToOuterDisposeScope();
        var weight = mask.to(torch.float32).unsqueeze(-1);                                     // [B, T, 1]
        return ((wide * weight).sum(1L) / weight.sum(1L).clamp(min: 1)).MoveToOuterDisposeScope();
    }
}
