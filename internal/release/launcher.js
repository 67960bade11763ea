#!/usr/bin/env node
"use strict";

// Starts the program for this platform, which npm has installed as an optional package, and
// ends as it ends.
const { spawn } = require("node:child_process");

const name = `@PACKAGE@-${process.platform}-${process.arch}`;
const program = process.platform === "win32" ? "ollama-mcp.exe" : "ollama-mcp";
let path;
try {
  path = require.resolve(`${name}/bin/${program}`);
} catch {
  console.error(`ollama-mcp: the package ${name} is not installed. If there is one for this platform, install again without --no-optional or --omit=optional.`);
  process.exit(1);
}

const child = spawn(path, process.argv.slice(2), { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("error", (error) => {
  console.error(`ollama-mcp: ${path} cannot be started: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  if (signal) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  } else {
    process.exit(code);
  }
});
