// Diagrams in Graphviz' language become SVGs: JSON of name to text on standard input, JSON of name to SVG on standard output.
import { Graphviz } from "@hpcc-js/wasm-graphviz";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const graphviz = await Graphviz.load();
const drawn = Object.entries(JSON.parse(Buffer.concat(chunks))).map(([name, text]) => [name, graphviz.dot(text)]);
process.stdout.write(JSON.stringify(Object.fromEntries(drawn)));
