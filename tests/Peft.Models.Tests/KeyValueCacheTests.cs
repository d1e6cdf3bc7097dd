using Peft.Models.Tests.Support;
using Peft.Torch;

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
            Assert.True(keys.equal(all.narrow(2, 0, start + count)));
            Assert.True(values.equal(all.narrow(2, 0, start + count).mul(2)));
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
            parts.AddRange(logits.contiguous().data<float>());
        }

        Assert.InRange(ModelRuns.LargestDifference(parts, whole), 0, 1e-5);
    }
}
