using System.Text.Json;

namespace Peft.Formats.Safetensors;

/// <summary>Parses the JSON header of one file and checks each entry against the length of the data section.</summary>
internal sealed class SafetensorsHeader
{
    private const string Repair = "copy or download the file again";
    private const int MostSizes = 64; // libtorch's limit; also keeps a hostile header from growing in memory
    private readonly string _path;
    private readonly long _dataStart;
    private readonly long _dataLength;

    private SafetensorsHeader(string path, long dataStart, long dataLength)
    {
        _path = path;
        _dataStart = dataStart;
        _dataLength = dataLength;
    }

    public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    public Dictionary<string, SafetensorsEntry> Entries { get; } = new(StringComparer.Ordinal);

    /// <param name="path">The file, for messages and entries.</param>
    /// <param name="json">The header, without the length before it.</param>
    /// <param name="dataLength">Bytes of the file after the header.</param>
    public static SafetensorsHeader Parse(string path, byte[] json, long dataLength)
    {
        var header = new SafetensorsHeader(path, 8L + json.Length, dataLength);
        if (json.Length == 0 || json[0] != (byte)'{')
            throw header.Error("header", "does not begin with '{'", "a JSON object", Repair);
        try
        {
            header.Read(new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 4 }));
        }
        catch (JsonException error)
        {
            throw header.Error("header", "not valid JSON", "a JSON object that describes each tensor", Repair, error);
        }
        catch (InvalidOperationException error)
        {
            throw header.Error("header", "a text that is not valid UTF-8", "JSON in UTF-8", Repair, error);
        }

        header.CheckCoverage();
        return header;
    }

    private void Read(Utf8JsonReader reader)
    {
        reader.Read();
        var seenMetadata = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            if (name != "__metadata__")
            {
                ReadEntry(ref reader, name);
                continue;
            }

            if (seenMetadata)
                throw Error("header", "__metadata__ is given twice", null, Repair);
            seenMetadata = true;
            ReadMetadata(ref reader);
        }

        reader.Read(); // throws when anything but blanks follows
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        var isMap = reader.TokenType == JsonTokenType.StartObject;
        while (isMap && reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw Error("__metadata__", $"the value of {Quote.Of(key)} is not a text", null, Repair);
            if (!Metadata.TryAdd(key, reader.GetString()!))
                throw Error("__metadata__", $"{Quote.Of(key)} is given twice", null, Repair);
        }

        if (!isMap)
            throw Error("__metadata__", "not an object", "an object of texts", Repair);
    }

    private void ReadEntry(ref Utf8JsonReader reader, string name)
    {
        var place = "tensor " + Quote.Of(name);
        if (Entries.ContainsKey(name))
            throw Error(place, "the name is used twice", null, Repair);
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Error(place, "not an object", "an object with dtype, shape and data_offsets", Repair);
        string? dtypeName = null;
        List<long>? shape = null;
        List<long>? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = reader.GetString()!;
            object? former = key switch { "dtype" => dtypeName, "shape" => shape, _ => offsets };
            if (key is not ("dtype" or "shape" or "data_offsets"))
                throw Error(place, "unknown key " + Quote.Of(key), "dtype, shape and data_offsets only", Repair);
            if (former is not null)
                throw Error(place, key + " is given twice", null, Repair);
            reader.Read();
            if (key == "dtype")
                dtypeName = reader.TokenType == JsonTokenType.String ? reader.GetString() : "";
            else if (key == "shape")
                shape = ReadSizes(ref reader, place, key);
            else
                offsets = ReadSizes(ref reader, place, key);
        }

        if (dtypeName is null || shape is null || offsets is null)
        {
            var missing = dtypeName is null ? "dtype" : shape is null ? "shape" : "data_offsets";
            throw Error(place, missing + " is missing", "dtype, shape and data_offsets", Repair);
        }

        Entries.Add(name, Check(name, place, dtypeName, shape, offsets));
    }

    private List<long> ReadSizes(ref Utf8JsonReader reader, string place, string key)
    {
        var sizes = new List<long>();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Error(place, key + " is not a list", "a list of whole numbers", Repair);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var size) || size < 0)
                throw Error(
                    place, $"{key} holds something other than a size", "whole numbers from 0 to 2^63 - 1", Repair);
            if (sizes.Count == MostSizes)
                throw Error(place, $"{key} has more than {MostSizes} sizes", null, Repair);
            sizes.Add(size);
        }

        return sizes;
    }

    private SafetensorsEntry Check(string name, string place, string dtypeName, List<long> shape, List<long> offsets)
    {
        if (!SafetensorsDtypes.TryParse(dtypeName, out var dtype))
        {
            throw Error(
                place, "dtype " + Quote.Of(dtypeName), Words.OneOf(SafetensorsDtypes.Names),
                "convert the tensor to one of them");
        }

        var shown = $"[{string.Join(", ", shape.Take(8))}{(shape.Count > 8 ? ", ..." : "")}]";
        if (SafetensorsDtypes.ByteCount(dtype, shape) is not { } needed)
            throw Error(place, $"shape {shown} is too large", "fewer than 2^63 bytes", Repair);
        if (offsets.Count != 2)
            throw Error(place, Words.Count(offsets.Count, "data offset"), "two: begin and end", Repair);
        var (begin, end) = (offsets[0], offsets[1]);
        if (begin > end)
            throw Error(place, $"data_offsets {begin}..{end} end before they begin", null, Repair);
        if (end > _dataLength)
            throw Error(place, $"data_offsets {begin}..{end}", $"at most {_dataLength}, the end of the file",
                "the file is truncated: " + Repair);
        if (end - begin != needed)
            throw Error(place, $"{end - begin} bytes", $"{needed} bytes for shape {shown} of {dtype}", Repair);
        return new SafetensorsEntry(name, dtype, shape, _path, _dataStart + begin, needed);
    }

    // Sorted by position, the tensors must follow one another without gap or overlap up to the end of the file.
    private void CheckCoverage()
    {
        var position = _dataStart;
        var previous = "the header";
        foreach (var entry in Entries.Values.OrderBy(entry => entry.Offset).ThenBy(entry => entry.ByteCount))
        {
            var place = "tensor " + Quote.Of(entry.Name);
            if (entry.Offset < position)
                throw Error(place, $"overlaps {previous}", null, Repair);
            if (entry.Offset > position)
                throw Error(
                    place, $"a gap of {Words.Count(entry.Offset - position, "byte")} after {previous}", null, Repair);
            position += entry.ByteCount;
            previous = place;
        }

        var rest = _dataStart + _dataLength - position;
        if (rest > 0)
            throw Error("data", $"{Words.Count(rest, "byte")} after {previous}", "the end of the file", Repair);
    }

    private UserException Error(
        string place, string found, string? expected, string? advice = null, Exception? inner = null) =>
        UserException.At($"{_path}, {place}", found, expected, advice, inner);
}
