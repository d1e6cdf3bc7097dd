using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class PermissionTests : IDisposable
{
    private const UnixFileMode ReadOnly = UnixFileMode.UserRead | UnixFileMode.UserExecute;

    private readonly TempFolder _folder = new();

    [PermissionTheory]
    [InlineData("rows.jsonl", "rows.jsonl", "no permission to read it")]
    [InlineData("r.yaml", "r.yaml: no permission to read", "Change its permissions")]
    [InlineData("base/model.safetensors", "base/model.safetensors: no permission to read", "Change its permissions")]
    [InlineData("base/tokenizer.json", "base/tokenizer.json: no permission to read", "Change its permissions")]
    public void A_file_that_may_not_be_read_is_named_and_nothing_is_written(string file, params string[] parts)
    {
        _folder.Copy(TinyBase.Model, "base");
        File.Copy(TinyBase.RowsFile, _folder["rows.jsonl"]);
        _folder.Write("r.yaml",
            TinyBase.Recipe("{r: 2}", "{max_steps: 1}").Replace(TinyBase.RowsFile, "rows.jsonl",
            StringComparison.Ordinal)
            .Replace(TinyBase.Model, "base", StringComparison.Ordinal));
        Permissions.Set(_folder[file], UnixFileMode.None);
        PeftProcess.Run(_folder, Permissions.Surroundings, "train", "r.yaml", "--output", "out").IsRefused(parts);
        Assert.False(Directory.Exists(_folder["out"]));
    }

    [PermissionTheory]
    [InlineData("", "locked/recipe.resolved.yaml: no permission to write", "or choose another output")]
    [InlineData("/new", "locked/new: cannot be written", "--output")]
    public void An_output_that_may_not_be_written_is_named_and_what_stands_there_stays(string below,
        params string[] parts)
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 1}"));
        Directory.CreateDirectory(_folder["locked"]);
        string[] mine = below.Length > 0 ? ["notes.txt"] : [];
        foreach (var file in mine)
            _folder.Write($"locked/{file}", "mine");
        Permissions.Set(_folder["locked"], ReadOnly);
        try
        {
            PeftProcess.Run(_folder, Permissions.Surroundings, "train", "r.yaml", "--output", "locked" + below,
                "--overwrite").IsRefused(parts);
            Assert.Equal(mine, Directory.GetFileSystemEntries(_folder["locked"]).Select(Path.GetFileName));
        }
        finally
        {
            Permissions.Set(_folder["locked"], ReadOnly | UnixFileMode.UserWrite);
        }
    }

    public void Dispose() => _folder.Dispose();
}
