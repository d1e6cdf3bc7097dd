using Peft.Prepare.Sources;

namespace Peft.Prepare.DataSets;

/// <summary>Lemmas with the form that is asked for: <see cref="WordNet.IrregularForms"/> the other way round.</summary>
internal static class Inflections
{
    /// <summary>
    /// A row for each form of letters of which the lists leave no doubt what it is, though they name none, and which is
    /// the only one of its kind.
    /// </summary>
    public static IEnumerable<KeyedRow> Read(InstalledPackages packages)
    {
        var named = from forms in WordNet.IrregularForms(packages).GroupBy(form => (form.Lemma, form.PartOfSpeech))
                    from entry in Named(forms.Key.Lemma, forms.Key.PartOfSpeech, [.. forms.Select(form => form.Form)])
                    where PlainWord.Is(forms.Key.Lemma) && PlainWord.Is(entry.Form)
                    select (forms.Key.Lemma, entry.Asked, entry.Form);
        return from entry in named.Distinct().GroupBy(entry => (entry.Lemma, entry.Asked))
               where entry.Count() == 1
               select new KeyedRow(entry.Key.Lemma, [entry.Key.Lemma, entry.Key.Asked, entry.Single().Form]);
    }

    private static IEnumerable<(string Asked, string Form)> Named(string lemma, string partOfSpeech, string[] forms) =>
        partOfSpeech switch
        {
            "noun" => forms.Select(form => ("plural", form)),
            "verb" => forms.Where(form => IsGerund(lemma, form)).Select(form => ("gerund", form))
                .Concat(Past(lemma, [.. forms.Where(form => !IsGerund(lemma, form) && !form.EndsWith('s'))])),
            _ => from form in forms
                 let asked = Degree(form)
                 where asked is not null
                 select (asked, form),
        };

    private static bool IsGerund(string lemma, string form) => form.EndsWith("ing", StringComparison.Ordinal)
        && form.Length > lemma.Length;

    private static string? Degree(string form) => form switch
    {
        "worse" or "less" => "comparative",
        _ when form.EndsWith("er", StringComparison.Ordinal) => "comparative",
        _ when form.EndsWith("st", StringComparison.Ordinal) => "superlative",
        _ => null,
    };

    // One form is the past, of a participle's look the participle; of two, one must have that look and the other not.
    private static IEnumerable<(string Asked, string Form)> Past(string lemma, string[] forms) => forms switch
    {
        [var form] => [(IsParticiple(form, lemma) ? "participle" : "past", form)],
        [var one, var other] when IsParticiple(one, other) && !IsParticiple(other, one) =>
            [("participle", one), ("past", other)],
        [var one, var other] when IsParticiple(other, one) && !IsParticiple(one, other) =>
            [("past", one), ("participle", other)],
        _ => [],
    };

    // taken (took), borne (bore), sung (sang); not gan (ginned).
    private static bool IsParticiple(string form, string other) =>
        (form.EndsWith('n') || form.EndsWith("ne", StringComparison.Ordinal))
            && !other.EndsWith("ed", StringComparison.Ordinal) && !other.EndsWith('n')
        || form.Contains('u', StringComparison.Ordinal) && form == other.Replace('a', 'u');
}
