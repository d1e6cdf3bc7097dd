using System.Globalization;

namespace Peft.Adapters.Lora;

/// <summary>First values of A; B begins at zero, so a fresh adapter changes nothing.</summary>
public static class LoraInitialization
{
    /// <summary>A of every expert, stacked; each expert draws from its own stream, named by module and expert.</summary>
    /// <remarks>
    /// Source: huggingface/peft 5d602fd, <c>reset_lora_parameters</c>: Kaiming uniform with a = sqrt 5, which is
    /// U(−1/√D, 1/√D); gaussian: N(0, (1/r)²). One stream an expert: adding a module or an expert never changes another's
    /// first values.
    /// Shapes: → [E·R, D] float32 on the CPU; expert e has rows e·R to e·R + R − 1.
    /// </remarks>
    public static Tensor Down(string path, int experts, int r, long width, string kind, long seed)
    {
        using var off = torch.no_grad();
        var stacked = torch.zeros([(long)experts * r, width], torch.float32);
        using var scope = torch.NewDisposeScope();
        for (var expert = 0; expert < experts; expert++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"{path}.lora_A.expert_{expert}");
            using var random = Seeds.GeneratorFor(seed, name);
            var rows = stacked.narrow(0, (long)expert * r, r);
            if (kind == "gaussian")
                Seeded.normal_(rows, 0, 1.0 / r, random);
            else
                Seeded.kaiming_uniform_(rows, Math.Sqrt(5), random);
        }
        return stacked;
    }
}
