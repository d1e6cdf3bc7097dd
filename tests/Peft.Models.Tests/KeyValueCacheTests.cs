using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class KeyValueCacheTests
{
    [Fact]
    public void Cache_grows_and_keeps_what_it_held()
    {
        using var scope = torch.NewDisposeScope();
        using var cache = new KeyValueCache(layerCount: 1, capacity: 2);
        var all = torch.arange(0, 20, dtype: ScalarType.Float32).reshape(1, 2, 5, 2);
        foreach (var (start, count) in new[] { (0L, 2L), (2L, 1L), (3L, 2L) })
        {
            var part = all.narrow(2, start, count);
            var (keys, values) = cache.Append(0, part, part.mul(2));
            cache.Advance(count);
            Assert.Equal(start + count, cache.Length);
            Assert.True(keys.SameAs(all.narrow(2, 0, start + count)));
            Assert.True(values.SameAs(all.narrow(2, 0, start + count).mul(2)));
        }
    }

    [Fact]
    public void Token_by_token_equals_the_whole_text_at_once_across_growth_and_window()
    {
        using var checkpoint = new TinyCheckpoint("mistral", "\"sliding_window\": 3");
        using var model = ModelLoader.Load(checkpoint.Path);
        long[] ids = [3, 17, 0, 39, 8, 8, 21, 5];
        var whole = ModelRuns.Logits(model, ids);
        using var cache = new KeyValueCache(model.Config.LayerCount, capacity: 1);
        var parts = new List<float>();
        foreach (var part in new[] { ids[..3], ids[3..4], ids[4..] })
        {
            using var scope = torch.NewDisposeScope();
            var logits = model.Forward(torch.tensor(part, [1, part.Length]), ForwardPass.ForInference(cache));
            parts.AddRange(logits.contiguous().data<float>().ToArray());
        }

        Assert.InRange(ModelRuns.LargestDifference(parts, whole), 0, 1e-5);
    }

    [Fact]
    public void Chosen_rows_go_on_as_those_they_were_copied_from_and_leave_them_alone()
    {
        using var checkpoint = new TinyCheckpoint();
        using var model = ModelLoader.Load(checkpoint.Path);
        long[][] prompts = [[3, 17, 0, 39], [8, 8, 21, 5]];
        (int Row, long[] Ids)[] continuations = [(1, [7, 2]), (0, [9, 9]), (1, [30, 4])];
        using var scope = torch.NewDisposeScope();
        using var cache = new KeyValueCache(model.Config.LayerCount, capacity: 4);
        model.Hidden(torch.tensor([.. prompts.SelectMany(ids => ids)], [2, 4]), ForwardPass.ForInference(cache));

        using var chosen = cache.Select([.. continuations.Select(c => (long)c.Row)], 2);
        var found = model.Forward(
            torch.tensor([.. continuations.SelectMany(c => c.Ids)], [3, 2]), ForwardPass.ForInference(chosen))
            .contiguous().data<float>().ToArray();

        Assert.Equal((4, 6), (cache.Length, chosen.Length));
        var vocabulary = found.Length / 6;
        foreach (var (at, (row, ids)) in continuations.Index())
        {
            var whole = ModelRuns.Logits(model, [.. prompts[row], .. ids]);
            Assert.InRange(
                ModelRuns.LargestDifference(
                    found.Skip(at * 2 * vocabulary).Take(2 * vocabulary), whole[^(2 * vocabulary)..]), 0, 1e-5);
        }
    }

    [Fact]
    public void What_was_decided_at_the_prompt_goes_with_the_chosen_rows()
    {
        using var scope = torch.NewDisposeScope();
        using var cache = new KeyValueCache(layerCount: 1, capacity: 2);
        var part = torch.ones([2, 1, 1, 2]);
        cache.Append(0, part, part);
        cache.Advance(1);
        cache.Once("mean", () => torch.tensor(new[] { 1f, 2f }, [2, 1]));

        using var chosen = cache.Select([1, 1, 0], 1);

        Assert.Equal(
            [2f, 2f, 1f], chosen.Once("mean", () => throw new InvalidOperationException("decided again")).data<float>()
            .ToArray());
    }
}
