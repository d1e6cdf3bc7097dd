using Peft.Formats;
using Peft.Prepare.Cache;
using Peft.Prepare.DataSets;

namespace Peft.Prepare.Tests;

/// <summary>What <c>make setup</c> and <c>make data</c> have left in this checkout.</summary>
internal static class Installed
{
    private static readonly Places Places = Places.FromEnvironment();

    public static InstalledPackages Packages { get; } = new(Places.Npm, Places.Debian);

    public static DataCache Cache { get; } = new(Places.Cache);

    public static bool HasPackages
    {
        get
        {
            var faults = new Faults();
            Packages.Check(Catalog.All.SelectMany(set => set.Packages), faults);
            return !faults.Any;
        }
    }

    public static bool HasCache =>
        Catalog.All.All(set => set.Split.Names.All(split => File.Exists(Cache.PathOf(set, split))));
}

/// <summary>A theory that needs the packages of <c>make setup</c>; reported as skipped where they are absent.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class InstalledPackagesTheoryAttribute : TheoryAttribute
{
    public InstalledPackagesTheoryAttribute() =>
        Skip = Installed.HasPackages ? null : "needs the packages that make setup installs, which are not present";
}

/// <summary>A fact that needs the packages of <c>make setup</c>; reported as skipped where they are absent.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class InstalledPackagesFactAttribute : FactAttribute
{
    public InstalledPackagesFactAttribute() =>
        Skip = Installed.HasPackages ? null : "needs the packages that make setup installs, which are not present";
}

/// <summary>A theory that needs the data sets of <c>make data</c>; reported as skipped where they are absent.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class PreparedDataTheoryAttribute : TheoryAttribute
{
    public PreparedDataTheoryAttribute() =>
        Skip = Installed.HasCache ? null : "needs the data sets that make data writes, which are not present";
}
