namespace Peft.Torch.Tests.Fused;

public sealed unsafe class ThreadsTests
{
    private const int Threads = 8;

    // One thread prepares for 1, takes tasks of 3, 1 and 1, and clears up for a half.
    private static readonly double[] Marks = [0, 1, 4, 5, 6, 6.5];

    [Theory]
    [InlineData(1, 6.5)]
    [InlineData(2, 4.5)]
    [InlineData(64, 4.5)]
    public void A_rehearsal_deals_each_task_to_the_thread_that_is_free_first(int workers, double seconds) =>
        Assert.Equal(seconds, Rehearsal.Dealt(Marks, workers), 1e-12);

    [Fact]
    public void A_rehearsal_does_each_task_once_and_times_it()
    {
        var rehearsal = new Rehearsal(Threads);
        var taken = new List<long>();
        Rehearse(rehearsal, () => Peft.Torch.Fused.Threads.Share(20, tasks =>
        {
            while (tasks.Next(out var task))
                taken.Add(task);
        }));
        Assert.Equal(Enumerable.Range(0, 20).Select(task => (long)task), taken);
        var (name, work) = Assert.Single(rehearsal.Shared);
        Assert.Equal(nameof(ThreadsTests), name);
        Assert.Equal(1, work.Times);
        Assert.InRange(work.Dealt, work.Seconds / Threads - 1e-9, work.Seconds + 1e-9);
        Assert.Equal(["the start to ThreadsTests", "ThreadsTests to the end"], rehearsal.Between.Keys);
    }

    [Fact]
    public void What_is_cut_for_more_threads_than_there_are_gives_the_same_gradients()
    {
        torch.manual_seed(1);
        using var scope = torch.NewDisposeScope();
        Tensor[] inputs =
        [
            torch.randn(1024, 96).requires_grad_(), torch.randn(160, 96), torch.randn(32, 96).requires_grad_(),
            torch.randn(160, 32).requires_grad_(), torch.rand(1024, 4).requires_grad_(),
        ];
        var slopes = torch.randn(1024, 160);
        var expected = Gradients();
        var rehearsal = new Rehearsal(Threads);
        Tensor[] found = [];
        Rehearse(rehearsal, () => found = Gradients());
        Assert.Contains("LowRankKernel", rehearsal.Shared.Keys);
        foreach (var (e, f) in expected.Zip(found))
            Assert.True(torch.allclose(e, f, 1e-4, 1e-3));

        Tensor[] Gradients() => Peft.Torch.Autograd.Gradients.grad(
            [Peft.Torch.Fused.Fused.lora_mixture_linear(
                inputs[0], inputs[1], null, inputs[2], inputs[3], inputs[4], 2)],
            [inputs[0], inputs[2], inputs[3], inputs[4]], [slopes]);
    }

    [Fact]
    public void Parts_are_added_in_their_order_whoever_adds_them()
    {
        const int Count = 40_001; // more than a task's, and no multiple of it
        var random = new Random(1);
        var parts = Enumerable.Range(0, Threads * Count).Select(_ => random.NextSingle() - 0.5f).ToArray();
        var sums = new float[Count];
        Rehearse(new Rehearsal(Threads), () => Sum(parts, sums));
        for (var i = 0; i < Count; i++)
        {
            var expected = parts[i];
            for (var share = 1; share < Threads; share++)
                expected += parts[(share * Count) + i];
            Assert.Equal(expected, sums[i]);
        }

        static void Sum(float[] parts, float[] sums)
        {
            fixed (float* from = parts, to = sums)
                new RowShares(Threads * 10, 10).Sum(from, Count, to);
        }
    }

    [Fact]
    public void What_is_shared_out_together_is_done_once_each_and_before_it_goes_on()
    {
        const int Works = 2_000, Tasks = 5;
        var done = new int[Works * Tasks];
        var threads = new System.Collections.Concurrent.ConcurrentDictionary<int, bool>();
        Peft.Torch.Fused.Threads.Together(() =>
        {
            for (var work = 0; work < Works; work++)
            {
                var at = work * Tasks;
                Peft.Torch.Fused.Threads.Share(Tasks, tasks =>
                {
                    threads[Environment.CurrentManagedThreadId] = true;
                    while (tasks.Next(out var task))
                    {
                        // What a task shares out in turn is done as well.
                        var (own, inner) = (at + (int)task, 0);
                        Peft.Torch.Fused.Threads.Share(3, parts =>
                        {
                            while (parts.Next(out _))
                                Interlocked.Increment(ref inner);
                        });
                        Interlocked.Add(ref done[own], inner);
                    }
                });
                Assert.All(done.AsSpan(at, Tasks).ToArray(), times => Assert.Equal(3, times));
            }
        });
        Assert.All(done, times => Assert.Equal(3, times));
        Assert.InRange(threads.Count, 1, Peft.Torch.Fused.Threads.Count);
    }

    [Fact]
    public void What_goes_wrong_together_is_thrown_and_the_next_work_runs()
    {
        var after = 0;
        var inTask = Assert.Throws<InvalidOperationException>(() => Peft.Torch.Fused.Threads.Together(() =>
        {
            Peft.Torch.Fused.Threads.Share(8, tasks =>
            {
                while (tasks.Next(out var task))
                {
                    if (task == 3)
                        throw new InvalidOperationException("task 3");
                }
            });
            after++;
        }));
        Assert.Equal("task 3", inTask.Message);
        Assert.Equal(0, after);
        var inBody = Assert.Throws<InvalidOperationException>(
            () => Peft.Torch.Fused.Threads.Together(() => throw new InvalidOperationException("the body")));
        Assert.Equal("the body", inBody.Message);
        Peft.Torch.Fused.Threads.Share(8, tasks =>
        {
            while (tasks.Next(out _))
                Interlocked.Increment(ref after);
        });
        Assert.Equal(8, after);
    }

    private static void Rehearse(Rehearsal rehearsal, Action work)
    {
        Peft.Torch.Fused.Threads.Rehearsal = rehearsal;
        try
        {
            work();
            rehearsal.Stop();
        }
        finally
        {
            Peft.Torch.Fused.Threads.Rehearsal = null;
        }
    }
}
