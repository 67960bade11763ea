#!/bin/sh
# Pulls each model of a list that Ollama does not have, and loads it, so that nobody waits
# for that. Ollama keeps it loaded as long as OLLAMA_KEEP_ALIVE says. A model that cannot
# be had does not keep the others from being loaded.
status=0
while read -r model _; do
  case $model in '' | '#'*) continue ;; esac
  ollama show "$model" </dev/null >/dev/null 2>&1 ||
    ollama pull "$model" </dev/null || { status=1; continue; }
  # Without a prompt it is loaded only. A model for embeddings wants one.
  ollama run "$model" </dev/null >/dev/null 2>&1 ||
    ollama run "$model" hello </dev/null >/dev/null || status=1
done <"${1:-/preload/models.txt}"
exit $status
