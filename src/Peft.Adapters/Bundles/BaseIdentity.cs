namespace Peft.Adapters.Bundles;

/// <summary>The base model an adapter was trained on.</summary>
/// <param name="Name">Hub id or path, as the user gave it.</param>
/// <param name="Fingerprint">SHA-256 over the base's tensors and config essentials (<c>ModelLoader.Fingerprint</c>).</param>
public sealed record BaseIdentity(string Name, string Fingerprint);

/// <summary>A data file that went into the training.</summary>
/// <param name="Name">File name as the recipe gives it.</param>
/// <param name="Sha256">SHA-256 of the file.</param>
public sealed record DataIdentity(string Name, string Sha256);
