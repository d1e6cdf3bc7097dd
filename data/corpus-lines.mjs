// Prints the texts of the corpus that the embedded base is trained on, one JSON string a line, for
//   node data/corpus-lines.mjs | bin/peft tokenize --train --jsonl --vocab-size 4096 --tokenizer data/base
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { dirname, join } from 'node:path';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(join(root, '.artifacts/npm/package.json'));
const { DuckDBInstance } = require('@duckdb/node-api');

const connection = await (await DuckDBInstance.create(':memory:')).connect();
const file = join(root, 'data/cache/corpus/train.parquet');
const result = await connection.stream(`SELECT text FROM read_parquet('${file}') WHERE source <> 'nlp_corpus'`);
for (let chunk = await result.fetchChunk(); chunk && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
  process.stdout.write(chunk.getRows().map(([text]) => JSON.stringify(text) + '\n').join(''));
}
