// Bundle the page into the package's folder of static files, or into the folder that is named.
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ? resolve(process.argv[2]) : join(here, "../src/tapetum/desk/web/static");
const license = (await readFile(join(here, "node_modules/preact/LICENSE"), "utf8")).trim();

await mkdir(out, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx" },
  outdir: out,
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
  footer: { js: `/*! This file contains Preact.\n\n${license}\n*/` },
});
await copyFile(join(here, "src/index.html"), join(out, "index.html"));
