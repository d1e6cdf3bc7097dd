using Parquet.Schema;
using Scriban.Runtime;
using ParquetDataField = Parquet.Schema.DataField;

namespace Peft.Data.Tables;

/// <summary>One column of a row group; puts the values of nested ones together out of their definition and repetition levels.</summary>
internal abstract class ParquetValue
{
    /// <summary>The first leaf: its levels tell whether a list or object is there.</summary>
    public abstract ParquetLeaf First { get; }

    /// <summary>Takes the next value.</summary>
    public abstract object? Take();

    /// <summary>Builds the reader of a field.</summary>
    public static ParquetValue Of(Field field, Func<ParquetDataField, ParquetLeaf> leaf) => field switch
    {
        ParquetDataField { IsArray: true } data => new ListValue(new LeafValue(leaf(data)), data.MaxDefinitionLevel, data.MaxRepetitionLevel),
        ParquetDataField data => new LeafValue(leaf(data)),
        ListField list => new ListValue(Of(list.Item, leaf), list.MaxDefinitionLevel, list.MaxRepetitionLevel),
        StructField part => new ObjectValue([.. part.Fields.Select(item => (item.Name, Of(item, leaf)))], part.MaxDefinitionLevel),
        MapField map => new MapValue(Of(map.Key, leaf), Of(map.Value, leaf), map.MaxDefinitionLevel, map.MaxRepetitionLevel),
        _ => throw new InvalidDataException($"column {field.Name} is of an unknown kind"),
    };

    private sealed class LeafValue(ParquetLeaf leaf) : ParquetValue
    {
        public override ParquetLeaf First => leaf;

        public override object? Take() => leaf.Take();
    }

    private sealed class ObjectValue((string Name, ParquetValue Value)[] parts, int level) : ParquetValue
    {
        public override ParquetLeaf First => parts[0].Value.First;

        public override object? Take()
        {
            var isThere = First.Definition >= level;
            var made = new ScriptObject(StringComparer.Ordinal);
            foreach (var (name, value) in parts)
                made.SetValue(name, value.Take()!, readOnly: false);
            return isThere ? made : null;
        }
    }

    // Below the level: an empty list. Two below: no list.
    private sealed class ListValue(ParquetValue item, int level, int repetition) : ParquetValue
    {
        public override ParquetLeaf First => item.First;

        public override object? Take()
        {
            var definition = First.Definition;
            if (definition < level)
            {
                item.Take();
                return definition == level - 1 ? new ScriptArray() : null;
            }

            var made = new ScriptArray();
            do
                made.Add(item.Take()!);
            while (First.Repetition >= repetition);
            return made;
        }
    }

    private sealed class MapValue(ParquetValue key, ParquetValue value, int level, int repetition) : ParquetValue
    {
        public override ParquetLeaf First => key.First;

        public override object? Take()
        {
            var definition = First.Definition;
            var made = new ScriptObject(StringComparer.Ordinal);
            do
            {
                var (name, item) = (key.Take(), value.Take());
                if (definition >= level)
                    made.SetValue(name as string ?? Convert.ToString(name, System.Globalization.CultureInfo.InvariantCulture) ?? "", item!, readOnly: false);
            }
            while (First.Repetition >= repetition);
            return definition >= level - 1 ? made : null;
        }
    }
}
