using Peft.Formats.Configuration;
using Peft.Formats;
using Peft.Recipes.Reading;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests.Reading;

public sealed class RecipeLoaderTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_a_recipe_extends_is_read_first_and_its_own_keys_come_over_it()
    {
        _folder.Write("a/top.yaml", "extends: ../b/middle.yaml\nx: {one: 1}\nlast: true\n");
        _folder.Write("b/middle.yaml", "extends: base.yaml\nx: {two: 22, three: 33}\n");
        _folder.Write("b/base.yaml", "first: 0\nx: {two: 2, four: {deep: 4, list: [1, 2, 3]}}\n");

        var tree = RecipeLoader.Load(_folder["a/top.yaml"], []);

        Assert.Equal(
            "first: 0\nx:\n  two: 22\n  four:\n    deep: 4\n    list: [1, 2, 3]\n  three: 33\n  one: 1\nlast: "
            + "true\n", ConfigText.ToYaml(tree));
    }

    [Fact]
    public void A_list_is_replaced_whole_and_so_is_a_value_of_another_kind()
    {
        _folder.Write("base.yaml",
            "list: [1, 2, 3]\nmaps: [{a: 1}, {b: 2}]\nsection: {a: 1}\nvalue: 1\nlines: {a: 1}\n");
        _folder.Write("r.yaml",
            "extends: base.yaml\nlist: [9]\nmaps: [{c: 3}]\nsection: 5\nvalue: {b: 1}\nlines: []\n");

        Assert.Equal(
            "list: [9]\nmaps:\n  - c: 3\nsection: 5\nvalue:\n  b: 1\nlines: []\n",
            ConfigText.ToYaml(RecipeLoader.Load(_folder["r.yaml"], [])));
    }

    [Fact]
    public void Every_value_knows_the_file_and_line_it_came_from()
    {
        _folder.Write("base.yaml", "x:\n  one: 1\n  two: 2\n");
        var tree = RecipeLoader.Load(_folder.Write("r.yaml", "extends: base.yaml\nx:\n  two: 3\n"), ["x.three=4"]);

        var x = (ConfigMap)tree["x"]!;
        Assert.Equal((_folder["base.yaml"], 2), (x["one"]!.Source, x["one"]!.Line));
        Assert.Equal((_folder["r.yaml"], 3), (x["two"]!.Source, x["two"]!.Line));
        Assert.Equal("--set x.three=4", x["three"]!.Source);
    }

    [Fact]
    public void Recipes_that_extend_each_other_are_refused_with_the_chain()
    {
        _folder.Write("a.yaml", "extends: b.yaml\n");
        _folder.Write("b.yaml", "extends: ./c.yaml\n");
        _folder.Write("c.yaml", "extends: a.yaml\n");
        Assert.Equal(
            $"{_folder["a.yaml"]}: extends itself through a.yaml -> b.yaml -> c.yaml.", Message("a.yaml"));

        _folder.Write("self.yaml", "extends: self.yaml\n");
        Assert.Equal($"{_folder["self.yaml"]}: extends itself through self.yaml.", Message("self.yaml"));
    }

    [Fact]
    public void A_long_chain_is_refused()
    {
        for (var i = 0; i < 10; i++)
            _folder.Write($"{i}.yaml", $"extends: {i + 1}.yaml\n");
        Assert.Equal($"{_folder["8.yaml"]}: more than 8 levels of extends. Merge some of the recipes.",
            Message("0.yaml"));
    }

    [Theory]
    [InlineData("extends: no.yaml\n",
        "extends 'no.yaml', and there is no {0}/no.yaml. The path is relative to the recipe's folder.")]
    [InlineData("extends: [a.yaml, b.yaml]\n", "extends is a list of 2 items; expected the path of one recipe file.")]
    [InlineData("extends:\n", "extends is null; expected the path of one recipe file.")]
    [InlineData("extends: ''\n", "extends is ''; expected the path of one recipe file.")]
    public void A_parent_that_cannot_be_read_is_refused_at_its_line(string text, string message)
    {
        _folder.Write("r.yaml", "# recipe\n" + text);
        Assert.Equal($"{_folder["r.yaml"]}:2: {string.Format(null, message, _folder.Path)}", Message("r.yaml"));
    }

    [Fact]
    public void A_fault_in_a_parent_names_the_parent()
    {
        _folder.Write("base.yaml", "a: 1\na: 2\n");
        _folder.Write("r.yaml", "extends: base.yaml\n");
        Assert.StartsWith($"{_folder["base.yaml"]}:2: key 'a' is already set on line 1.", Message("r.yaml"),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Overrides_come_last_in_order_and_make_the_sections_they_need()
    {
        _folder.Write("r.yaml", "training: {seed: 1}\nnothing:\nlist: [1]\n");
        var tree = RecipeLoader.Load(_folder["r.yaml"], [
            "training.seed=2", "training.seed=3", "adapter.router.kind=soft", "nothing.a=1", "list=[4, 5]",
            "adapter.experts={count: 2}",
            "text='8'", "empty=null", "equation=a=b", "data.filter=x > 1 && y != 'z'",
        ]);

        Assert.Equal(
            """
            training:
              seed: 3
            nothing:
              a: 1
            list: [4, 5]
            adapter:
              router:
                kind: soft
              experts:
                count: 2
            text: "8"
            empty: null
            equation: "a=b"
            data:
              filter: "x > 1 && y != 'z'"

            """, ConfigText.ToYaml(tree));
    }

    [Theory]
    [InlineData("training.max_steps", "not an override; expected a.b=value, such as --set training.max_steps=100.")]
    [InlineData("=5", "not an override; expected a.b=value, such as --set training.max_steps=100.")]
    [InlineData("", "not an override; expected a.b=value, such as --set training.max_steps=100.")]
    [InlineData("training..seed=5", "an empty name between the dots; expected a.b=value.")]
    [InlineData(".seed=5", "an empty name between the dots; expected a.b=value.")]
    [InlineData("training.=5", "an empty name between the dots; expected a.b=value.")]
    [InlineData("training.seed.x=5", "'seed' is not a section of the recipe, so nothing can be set in it.")]
    [InlineData(
        "list.0=5", "'list' is a list of the recipe, of which no single entry can be set; expected the whole list as a "
        + "value of this key. Data sets by name: --set data.only=[NAME].")]
    [InlineData("training.seed=", "no value; expected a value, or null for the default.")]
    public void A_malformed_override_is_refused(string setting, string message)
    {
        var path = _folder.Write("r.yaml", "training: {seed: 1}\nlist: [1]\n");
        var error = Assert.Throws<UserException>(() => RecipeLoader.Load(path, [setting]));
        Assert.Equal($"--set {setting}: {message}", error.Message);
    }

    [Theory]
    [InlineData("a=[1, 2", "--set a=[1, 2: not valid YAML: ")]
    [InlineData("a=*x", "--set a=*x: the alias '*x' is not supported")]
    [InlineData("a=1\nb: 2", "--set a=1\nb: 2: a value of several lines; expected one line of YAML.")]
    public void An_override_whose_value_is_no_yaml_is_refused(string setting, string message)
    {
        var path = _folder.Write("r.yaml", "a: 1\n");
        var error = Assert.Throws<UserException>(() => RecipeLoader.Load(path, [setting]));
        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
    }

    private string Message(string name) =>
        Assert.Throws<UserException>(() => RecipeLoader.Load(_folder[name], [])).Message;
}
