using System.Diagnostics;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Peft.Evaluation.Metrics;

namespace Peft.Evaluation.Tests.Reports;

/// <summary>A fact that needs a real browser; reported as skipped, with the reason, where there is none.</summary>
public sealed class ChromiumFactAttribute : FactAttribute
{
    public ChromiumFactAttribute() => Skip = Chromium.Program is null
        ? "needs chromium (the Debian package of that name, which make test installs where it may); no browser was "
            + "found on PATH" : null;
}

/// <summary>The same for a theory.</summary>
public sealed class ChromiumTheoryAttribute : TheoryAttribute
{
    public ChromiumTheoryAttribute() => Skip = new ChromiumFactAttribute().Skip;
}

/// <summary>A headless Chromium, driven over its DevTools protocol.</summary>
public sealed partial class Chromium : IDisposable
{
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(3); // a busy machine starts it slowly

    private readonly Process _process;
    private readonly string _profile = Directory.CreateTempSubdirectory("peft-chromium-").FullName;
    private readonly ClientWebSocket _socket = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<int, TaskCompletionSource<JsonNode>> _calls = [];
    private readonly List<(string Session, string Method, JsonNode Parameters)> _events = [];
    private readonly SemaphoreSlim _sending = new(1);
    private int _count;

    public Chromium()
    {
        var start = new ProcessStartInfo(Program!) { RedirectStandardError = true, RedirectStandardOutput = true };
        string[] words =
        [
            "--headless=new", "--remote-debugging-port=0", $"--user-data-dir={_profile}", "--no-first-run",
            "--disable-gpu", "--hide-scrollbars",
            "--disable-extensions", "--disable-background-networking", "--disable-component-update",
            "--disable-dev-shm-usage", "about:blank",
        ];
        foreach (var word in words)
            start.ArgumentList.Add(word);
        // Its sandbox refuses to work for root, who runs the tests in containers.
        if (Environment.UserName == "root")
            start.ArgumentList.Insert(0, "--no-sandbox");
        _process = Process.Start(start)!;
        _process.BeginOutputReadLine();
        _socket.ConnectAsync(new Uri(Address()), default).Wait(Longest);
        _ = Task.Run(Listen);
    }

    /// <summary>The browser's program, or null.</summary>
    public static string? Program { get; } =
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
            .SelectMany(
                folder => new[] { "chromium", "chromium-browser", "google-chrome" }.Select(
                    name => Path.Combine(folder, name)))
            .FirstOrDefault(File.Exists);

    /// <summary>Opens a file as a page and waits until it is loaded.</summary>
    public async Task<Page> Open(string file, int width = 1280, int height = 900, string scheme = "light")
    {
        var made = await Send("", "Target.createTarget", new JsonObject { ["url"] = "about:blank" });
        var target = made["targetId"]!.GetValue<string>();
        var attached = await Send(
            "", "Target.attachToTarget", new JsonObject { ["targetId"] = target, ["flatten"] = true });
        var session = attached["sessionId"]!.GetValue<string>();
        foreach (var domain in new[] { "Runtime", "Log", "Network", "Page" })
            await Send(session, $"{domain}.enable", []);
        await Send(
            session, "Emulation.setDeviceMetricsOverride",
            new JsonObject { ["width"] = width, ["height"] = height, ["deviceScaleFactor"] = 1, ["mobile"] = false });
        await Send(session, "Emulation.setEmulatedMedia", new JsonObject
        {
            ["features"] = new JsonArray(new JsonObject { ["name"] = "prefers-color-scheme", ["value"] = scheme }),
        });
        await Send(session, "Page.navigate", new JsonObject { ["url"] = new Uri(file).AbsoluteUri });
        await WaitFor(session, "Page.loadEventFired");
        // Two frames later everything that was waiting to be drawn is drawn.
        await Send(session, "Runtime.evaluate", new JsonObject
        {
            ["expression"] = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))",
            ["awaitPromise"] = true,
        });
        return new(this, target, session);
    }

    public void Dispose()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
        _process.Dispose();
        _socket.Dispose();
        _sending.Dispose();
        try
        {
            Directory.Delete(_profile, recursive: true);
        }
        catch (IOException)
        {
            // A helper process of the browser may still be closing its files; the folder lies with the temporary ones.
        }
    }

    internal async Task<JsonNode> Send(string session, string method, JsonObject parameters)
    {
        var id = Interlocked.Increment(ref _count);
        var message = new JsonObject { ["id"] = id, ["method"] = method, ["params"] = parameters };
        if (session.Length > 0)
            message["sessionId"] = session;
        var answer = new TaskCompletionSource<JsonNode>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
            _calls[id] = answer;
        await _sending.WaitAsync();
        try
        {
            await _socket.SendAsync(
                Encoding.UTF8.GetBytes(message.ToJsonString()), WebSocketMessageType.Text, true, default);
        }
        finally
        {
            _sending.Release();
        }
        return await answer.Task.WaitAsync(Longest);
    }

    internal IReadOnlyList<(string Method, JsonNode Parameters)> Events(string session)
    {
        lock (_gate)
            return [.. _events.Where(e => e.Session == session).Select(e => (e.Method, e.Parameters))];
    }

    private async Task WaitFor(string session, string method)
    {
        for (var end = DateTime.UtcNow + Longest; !Events(session).Any(e => e.Method == method); await Task.Delay(20))
            Assert.True(DateTime.UtcNow < end, $"{method} did not come");
    }

    private string Address()
    {
        for (var lines = new StringBuilder(); ;)
        {
            var line = _process.StandardError.ReadLine()
                ?? throw new InvalidOperationException($"{Program} ended at once:\n{lines}");
            lines.AppendLine(line);
            if (Listening().Match(line) is { Success: true } match)
            {
                _ = _process.StandardError.ReadToEndAsync(); // a full pipe would stop the browser
                return match.Groups[1].Value;
            }
        }
    }

    private async Task Listen()
    {
        var buffer = new byte[1 << 16];
        while (_socket.State == WebSocketState.Open)
        {
            using var text = new MemoryStream();
            ValueWebSocketReceiveResult part;
            try
            {
                do
                {
                    part = await _socket.ReceiveAsync(buffer.AsMemory(), default);
                    text.Write(buffer, 0, part.Count);
                }
                while (!part.EndOfMessage);
            }
            catch (Exception e) when (e is WebSocketException or ObjectDisposedException)
            {
                return;
            }
            Take(JsonNode.Parse(text.ToArray())!);
        }
    }

    private void Take(JsonNode message)
    {
        lock (_gate)
        {
            if (message["id"] is not { } id)
                _events.Add(
                    (
                        message["sessionId"]?.GetValue<string>() ?? "", message["method"]!.GetValue<string>(),
                        message["params"]!));
            else if (message["error"] is { } error)
                _calls[id.GetValue<int>()].SetException(new InvalidOperationException(error.ToJsonString()));
            else
                _calls[id.GetValue<int>()].SetResult(message["result"]!);
        }
    }

    [GeneratedRegex(@"DevTools listening on (ws://\S+)")]
    private static partial Regex Listening();
}

/// <summary>An open page.</summary>
public sealed class Page(Chromium browser, string target, string session) : IAsyncDisposable
{
    /// <summary>
    /// What the page complained about: exceptions, errors and warnings on the console, violations of its policy.
    /// </summary>
    public IReadOnlyList<string> Complaints =>
        [.. browser.Events(session)
            .Where(e => e.Method is "Runtime.exceptionThrown" or "Log.entryAdded" or "Runtime.consoleAPICalled")
            .Select(e => $"{e.Method} {e.Parameters.ToJsonString()}")];

    /// <summary>What the page asked for beside itself and what it carries.</summary>
    public IReadOnlyList<string> Requests =>
        [.. browser.Events(session).Where(e => e.Method == "Network.requestWillBeSent")
            .Select(e => e.Parameters["request"]!["url"]!.GetValue<string>()).Skip(1)
                .Where(url => !url.StartsWith("data:", StringComparison.Ordinal))];

    /// <summary>The value of an expression in the page.</summary>
    public async Task<JsonElement> Evaluate(string expression)
    {
        var result = await browser.Send(
            session, "Runtime.evaluate",
            new JsonObject { ["expression"] = $"JSON.stringify({expression})", ["awaitPromise"] = true });
        Assert.True(result["exceptionDetails"] is null, $"{expression}: {result["exceptionDetails"]?.ToJsonString()}");
        return JsonDocument.Parse(result["result"]!["value"]!.GetValue<string>()).RootElement;
    }

    /// <summary>Presses a key.</summary>
    public async Task Press(string key)
    {
        foreach (var type in new[] { "keyDown", "keyUp" })
            await browser.Send(
                session, "Input.dispatchKeyEvent",
                new JsonObject
                {
                    ["type"] = type, ["key"] = key, ["code"] = key, ["windowsVirtualKeyCode"] = key == "Tab" ? 9 : 13,
                });
    }

    /// <summary>The page as PNG, whole or what the window shows.</summary>
    public async Task<byte[]> Screenshot(bool isWhole = true)
    {
        var options = new JsonObject { ["captureBeyondViewport"] = isWhole };
        var shot = await browser.Send(session, "Page.captureScreenshot", options);
        return Convert.FromBase64String(shot["data"]!.GetValue<string>());
    }

    /// <summary>The page as PDF.</summary>
    public async Task<byte[]> Print() => Convert.FromBase64String((await browser.Send(
        session, "Page.printToPDF", new JsonObject { ["printBackground"] = true }))["data"]!.GetValue<string>());

    public async ValueTask DisposeAsync() =>
        await browser.Send("", "Target.closeTarget", new JsonObject { ["targetId"] = target });
}
