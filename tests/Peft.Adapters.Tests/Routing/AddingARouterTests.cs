using System.Text.Json.Nodes;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Bundles;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Tests.Routing;

/// <summary>A router is one file (<see cref="FirstRouter"/>) and one line (here); an option of it is one
/// line.</summary>
public sealed class AddingARouterTests : IDisposable
{
    private readonly TinyModel _tiny = new();

    private readonly IDisposable _line = RouterCatalog.Add(
        RouterCatalog.Entry(
            "first", [], "the first experts", new FirstRouterOptions(), (o, c) => new FirstRouter(o, c)));

    public void Dispose()
    {
        _line.Dispose();
        _tiny.Dispose();
    }

    [Fact]
    public void Its_options_are_read_resolved_and_saved()
    {
        var reader = new OptionReader(
            ConfigJson.Parse("""{"method": "mixture", "router": {"kind": "first","""
                + """ "temperature": 2}}""", "adapter"), "", new Faults());
        var options = AdapterOptions.Read(reader);

        Assert.False(reader.Faults.Any);
        Assert.Equal(new FirstRouterOptions { Temperature = 2 }, options.Router);
        Assert.Equal(
            """{"kind":"first","top_k":3,"temperature":2}""", Without(options.ToJson()["router"]!, "balance"));
        Assert.Equal(["kind", "top_k", "temperature", "balance"], ((ConfigMap)reader.Resolved()["router"]!).Keys);
    }

    private static string Without(JsonNode section, string key)
    {
        section.AsObject().Remove(key);
        return section.ToJsonString();
    }

    [Fact]
    public void Its_options_are_refused_out_of_range_and_first_values_fit_the_size()
    {
        var error = Assert.Throws<FaultsException>(() => AdapterOptionsTests.Read("""
            {"method": "mixture", "router": {"kind": "first", "top_k": 5, "temperature": 0, "temprature": 1}}
            """));

        Assert.Equal(
            [
                "line 1  router.temperature: 0; expected a number above 0.",
                "line 1  router.top_k: 5; expected a whole number from 1 to 4.",
                "line 1  router.temprature: unknown key. Did you mean temperature?",
            ],
            error.Items.Select(fault => fault.ToString()));
        var two = AdapterOptionsTests.Read("""{"method": "mixture", "experts": {"count": 2},"""
            + """ "router": {"kind": "first"}}""");
        Assert.Equal(2, ((FirstRouterOptions)two.Router!).TopK);
    }

    [Fact]
    public void A_bundle_of_it_comes_back()
    {
        var trained = TinyBundle.Trained(_tiny, AdapterOptionsTests.Read("""{"method": "mixture", "r": 2,"""
            + """ "router": {"kind": "first"}}"""));
        BundleWriter.Write(_tiny.In("out"), TinyBundle.Contents(trained));
        var again = _tiny.New();

        var loaded = Bundle.Open(_tiny.In("out")).Attach(again);

        Assert.Equal("first", loaded.Options.Router!.Kind);
        Assert.True(TinyModel.Logits(trained.Model).SameAs(TinyModel.Logits(again)));
    }

    [Fact]
    public void It_goes_with_the_program_that_brought_it()
    {
        _line.Dispose();

        Assert.DoesNotContain("first", RouterCatalog.Names);
    }
}
