namespace Peft.Prepare;

/// <summary>What the program can do.</summary>
internal enum ProgramTask
{
    /// <summary>Write the data sets that are missing or changed.</summary>
    Write,

    /// <summary>Print rows and hash of each file.</summary>
    Check,

    /// <summary>Print the texts that the embedded base model is trained on.</summary>
    Texts,

    /// <summary>Print how to call the program.</summary>
    Help,
}
