using System.Text.RegularExpressions;

namespace Peft.Architecture.Tests;

/// <summary>What TorchSharp 0.107 offers and this program must not use. Most of libLibTorchSharp's exports turn a C++
/// exception into a .NET
/// one; 172 of 1,166 do not, and an error there (shapes that do not meet, say) ends the process. Found in the machine
/// code: an export that
/// catches touches the thread's last error. Beside those named here they are the library's optimizers, native modules,
/// JIT, data loaders and
/// image conversions, and getters and constructors of numbers that cannot fail.</summary>
public sealed partial class TorchSharpTrapTests
{
    private static readonly (string Pattern, string Instead)[] Traps =
    [
        (@"\bmatmul\(", "THSTensor_matmul does not catch: use mm, bmm, addmm, baddbmm or nn.functional.linear"),
        (@"\.cumm(ax|in)\(", "THSTensor_cummax and THSTensor_cummin do not catch"),
        (@"\btorch\.autograd\.grad\(", "THSAutograd_grad does not catch: use Gradients.grad"),
        (@"\btorch\.optim\.",
            "constructors and steps do not catch, state is keyed by handle: use AdamW and SGD of Peft.Torch"),
        (@"\btorch\.jit\.", "exports of JIT modules do not catch"),
        (@"\.storage\(\)", "a storage's data_ptr corrupts the heap: use Address()"),
        (@"(?<!Gradients|torch\.autograd)\.backward\(",
            "the error of a function of ours would not come out as it was thrown: use Gradients.backward"),
        (@"\.(retain_grad|register_hook)\(",
            "what adds up a gradient among functions of ours hides it from hooks: use Gradients.grad"),
        (@"\.(sum|mean)\(0\)", "a literal 0 becomes the ScalarType parameter, not a dimension: write [0] or 0L"),
    ];

    [Fact]
    public void No_source_uses_what_ends_the_process_or_means_something_else()
    {
        var files = RepositoryFiles.Below("src", ".cs").ToList();
        Assert.NotEmpty(files);
        RepositoryFiles.AssertNone(
            from trap in Traps
            from finding in RepositoryFiles.Findings(files, line => IsCode(line) && Regex.IsMatch(line, trap.Pattern))
            select $"{finding} - {trap.Instead}",
            "traps of TorchSharp:");
    }

    [Theory]
    [InlineData("var y = torch.matmul(a, b);")]
    [InlineData("var y = a.matmul(b);")]
    [InlineData("loss.backward();")]
    [InlineData("y.retain_grad();")]
    [InlineData("y.register_hook(slope => seen = slope)")]
    [InlineData("x.sum(0)")]
    [InlineData("x.mean(0)")]
    [InlineData("torch.autograd.grad([y], [x])")]
    public void Each_trap_is_recognised(string line) =>
        Assert.Contains(Traps, trap => Regex.IsMatch(line, trap.Pattern));

    [Theory]
    [InlineData("Gradients.backward(loss);")]
    [InlineData("x.sum([0])")]
    [InlineData("x.sum(0L)")]
    [InlineData("Gradients.grad([y], [x])")]
    public void What_is_right_passes(string line) =>
        Assert.DoesNotContain(Traps, trap => Regex.IsMatch(line, trap.Pattern));

    /// <summary>Native code is given the address of a Scalar that nothing holds on to; a collection in the middle of a
    /// call frees it. The thread that calls does not allocate meanwhile, so no other may.</summary>
    [Fact]
    public void No_thread_allocates_beside_the_one_that_computes()
    {
        (string File, string Why)[] known =
        [
            ("MpiCommunicator.cs", "sleeps, and ends the process"),
            ("NcclLibrary.cs", "who starts it waits for it"),
            ("ParquetFile.cs", "who starts it waits for it"),
            ("RowBlocks.cs", "who starts it waits for it"),
            ("SequenceReader.cs", "who starts it waits for it"),
            ("TorchRuntime.cs", "who starts it waits until it sleeps"),
        ];
        var files = RepositoryFiles.Below("src", ".cs").ToList();
        var starting = files.Where(file => RepositoryFiles.Lines(file).Any(
            line => IsCode(line) && StartsThread().IsMatch(line))).Select(file => Path.GetFileName(file)).ToList();
        Assert.Equal(known.Select(place => place.File).Order(), starting.Order());
    }

    [Theory]
    [InlineData("Task.Run(read)")]
    [InlineData("Parallel.For(")]
    [InlineData("new Thread(() =>")]
    public void Each_start_of_a_thread_is_recognised(string line) => Assert.Matches(StartsThread(), line);

    [GeneratedRegex(
        @"\bnew (Thread|Timer|PeriodicTimer)\(|\b(Task\.(Run|Factory)|Parallel\.|ThreadPool\.)|AsParallel\(")]
    private static partial Regex StartsThread();

    private static bool IsCode(string line) => !line.TrimStart().StartsWith("//", StringComparison.Ordinal);
}
