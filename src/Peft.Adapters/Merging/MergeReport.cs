namespace Peft.Adapters.Merging;

/// <summary>What a static merge lost in one module, against the exact weighted sum of the updates.</summary>
/// <param name="Path">The module.</param>
/// <param name="Rank">Rank of the result there.</param>
/// <param name="ErrorEnergy">‖M − S‖²_F, M the merged update and S the exact sum.</param>
/// <param name="Energy">‖M‖²_F.</param>
/// <param name="ExactEnergy">‖S‖²_F.</param>
public sealed record ModuleLoss(string Path, int Rank, double ErrorEnergy, double Energy, double ExactEnergy)
{
    /// <summary>‖M − S‖_F / ‖S‖_F; 0 where both are zero.</summary>
    public double RelativeError => ExactEnergy > 0 ? Math.Sqrt(ErrorEnergy / ExactEnergy) : ErrorEnergy > 0 ? double.PositiveInfinity : 0;

    /// <summary>‖M‖²_F / ‖S‖²_F.</summary>
    public double EnergyKept => ExactEnergy > 0 ? Energy / ExactEnergy : 1;
}

/// <summary>What a merge came to.</summary>
/// <param name="Method">The method.</param>
/// <param name="Names">The adapters' names.</param>
/// <param name="Losses">Of a static merge, a module each; empty for routed ones.</param>
/// <param name="Similarity">Of a routed merge; null for static ones.</param>
/// <param name="Notes">What the user is to know besides.</param>
public sealed record MergeReport(
    string Method, IReadOnlyList<string> Names, IReadOnlyList<ModuleLoss> Losses, ExpertSimilarity? Similarity, IReadOnlyList<string> Notes)
{
    /// <summary>The loss over all modules together.</summary>
    public ModuleLoss Total => new(
        "all", Losses.Select(loss => loss.Rank).DefaultIfEmpty(0).Max(), Losses.Sum(loss => loss.ErrorEnergy), Losses.Sum(loss => loss.Energy),
        Losses.Sum(loss => loss.ExactEnergy));
}
