// Reads enough of MIME to see what a person would have read first: the subject and the start of the text.

const BodyLength = 300;

/** { subject, body, thread }: body holds at most 300 characters; thread is the subject without reply marks and list names. */
export function readMail(raw) {
  const { headers, body } = splitPart(raw.replaceAll('\r\n', '\n'));
  const subject = clean(decodeWords(headers.subject ?? ''));
  const shown = clean(readableText(headers, body, 0) ?? '');
  return {
    subject,
    body: shown.length <= BodyLength ? shown : shown.slice(0, shown.lastIndexOf(' ', BodyLength) > BodyLength / 2 ? shown.lastIndexOf(' ', BodyLength) : BodyLength),
    thread: subject.toLowerCase().replace(/^(?:\s*(?:re|fwd?|aw)\s*(?:\[\d+\])?:|\s*\[[^\]]*\])+/g, '').trim() || shown.slice(0, 80),
  };
}

function splitPart(raw) {
  const end = raw.indexOf('\n\n');
  const head = end < 0 ? raw : raw.slice(0, end);
  const headers = {};
  for (const line of head.replace(/\n[ \t]+/g, ' ').split('\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    if (colon > 0 && !(name in headers)) headers[name] = line.slice(colon + 1).trim();
  }
  return { headers, body: end < 0 ? '' : raw.slice(end + 2) };
}

/** The plain text of a part, or of the best part inside it; null when there is none. */
function readableText(headers, body, depth) {
  const type = headers['content-type'] ?? 'text/plain';
  const boundary = /boundary="?([^";\n]+)"?/i.exec(type)?.[1]?.trim();
  if (/^multipart\//i.test(type) && boundary && depth < 5) {
    const parts = body.split(`--${boundary}`).slice(1).filter(p => !p.startsWith('--')).map(p => splitPart(p.replace(/^[ \t]*\n/, '')));
    const isPlain = part => /^text\/plain/i.test(part.headers['content-type'] ?? 'text/plain');
    for (const part of [...parts.filter(isPlain), ...parts.filter(p => !isPlain(p))]) {
      const found = readableText(part.headers, part.body, depth + 1);
      if (found?.trim()) return found;
    }
    return null;
  }
  if (!/^(text|message)\//i.test(type) && /^[a-z]+\//i.test(type) && !/^multipart\//i.test(type)) return null;
  const decoded = decodeTransfer(body, headers['content-transfer-encoding'] ?? '');
  return /html/i.test(type) || /^\s*<(!doctype|html|head|body|table|font|center)/i.test(decoded) ? withoutMarkup(decoded) : decoded;
}

function decodeTransfer(body, encoding) {
  if (/base64/i.test(encoding)) return Buffer.from(body.replace(/[^A-Za-z0-9+/=]/g, ''), 'base64').toString('latin1');
  if (/quoted-printable/i.test(encoding)) return unquote(body.replace(/=[ \t]*\n/g, ''));
  return body;
}

const unquote = value => value.replace(/=([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));

const decodeWords = value => value.replace(/=\?[^?]+\?([BbQq])\?([^?]*)\?=\s*/g, (_, kind, data) =>
  (kind.toLowerCase() === 'b' ? Buffer.from(data, 'base64').toString('latin1') : unquote(data.replaceAll('_', ' '))));

const entities = { nbsp: ' ', amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", copy: '(c)', reg: '(r)' };

function withoutMarkup(html) {
  return html
    .replace(/<(style|script|title)\b[^]*?<\/\1\s*>/gi, ' ')
    .replace(/<!--[^]*?-->/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#(\d{1,5});/g, (_, n) => String.fromCharCode(Number(n)))
    .replace(/&([a-z]{2,6});?/gi, (all, name) => entities[name.toLowerCase()] ?? all);
}

/** Printable characters and single spaces only. */
const clean = value => value.replace(/[\u0000-\u0020\u007f-\u00a0\ufffd]+/g, ' ').trim();
