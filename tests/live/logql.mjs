// Usage: node logql.mjs REPOSITORY < queries.json
// Reads a list of LogQL queries with Grafana's own grammar, and prints a list: for each where it is not understood, or nothing.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { parser } = createRequire(`${process.argv[2]}/package.json`)("@grafana/lezer-logql");

const answers = JSON.parse(readFileSync(0, "utf8")).map((query) => {
  let trouble = "";
  parser.parse(query).iterate({
    enter: (node) => {
      if (node.type.isError && !trouble) trouble = `at ${node.from}: ${query.slice(node.from, node.from + 20)}|`;
    },
  });
  return trouble;
});
console.log(JSON.stringify(answers));
