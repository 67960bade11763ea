// Package tools is what a client may call, one file per tool.
//
// It promises that arguments are checked before anything is done, that every failure reads
// as one line with a code and a next step, and that every answer says what served it. How a
// tool is described to clients and called by them is in define.go alone. How a request gets
// its answer is left to package inference, and carrying messages to package server.
package tools

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/batch"
	"ollama-mcp/internal/files"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/quota"
)

// Deps is what the tools need from the rest of the program.
type Deps struct {
	Engine    *inference.Engine
	Documents *Documents      // keeps embeddings that are too large to return
	Batches   *batch.Journals // of answers that map has got; nil makes some, in memory
	Jobs      *jobs.Registry  // of calls that take longer than they may; nil makes one
	Files     *files.Dirs     // that callers may have read and written; nil for none
	Log       *slog.Logger

	// Wait is how long calls of slow tools wait for their result, unless they say; 0 means 50 s.
	Wait time.Duration

	// InlineBytes is up to what size embeddings are returned in the result itself when the
	// caller leaves it to us; 0 means never.
	InlineBytes int

	// ResultMeta says how much the metadata of a result tells of what served it: "short",
	// "off", or "full", which is "".
	ResultMeta string

	// Refresh waits, though not for long, until hosts that were idle have been asked how they
	// are; nil leaves them as they were last seen.
	Refresh func(context.Context)

	// Quota counts calls and reads of resources in the limits of their callers.
	Quota *quota.Quota

	// Offer says which tools are offered, and under which names.
	Offer Offer

	hasJobs  bool              // the tool that asks for jobs is offered
	spelling *strings.Replacer // of names of tools in our texts; nil leaves them as they are
}

// All are the tools that are offered, in the order of the table.
func All(d Deps) (all []mcpserver.ServerTool) {
	d.spelling, d.Wait = d.Offer.spelling(), cmp.Or(d.Wait, defaultWait)
	d.hasJobs = d.Offer.offers(jobTool)
	if d.Jobs == nil {
		d.Jobs = jobs.New(jobs.Options{})
	}
	if d.Batches == nil {
		d.Batches = batch.NewJournals(batch.JournalOptions{})
	}
	for _, t := range table {
		if d.Offer.has(t) {
			all = append(all, t.make(d, t.about))
		}
	}
	return all
}

// Resources are what results point to when they are too large for a result.
func Resources(d Deps) []mcpserver.ServerResourceTemplate {
	return []mcpserver.ServerResourceTemplate{resource(d, vectorsKind), resource(d, resultsKind)}
}

// Instructions tell a client's model, once, how to use the tools that are offered.
func Instructions(o Offer) string {
	d := Deps{spelling: o.spelling()}
	text := "Tools to use language models that run on the user's own machines through Ollama.\n"
	for _, line := range advice {
		if o.offers(line.tool) {
			text += line.text + "\n"
		}
	}
	return d.spell(text + `A note in a result says what to know about the answer, such as that it was cut.
A failed call says what to do next. If it is marked retryable, wait as long as it says and call again.`)
}

// advice says which tool is for what, a line for each tool that has to be explained.
var advice = []struct{ tool, text string }{
	{"list-models", "Call list-models first: other tools need the exact name of an installed model, and its capabilities say what it is for."},
	{"map", "To ask the same about many texts or files, call map once, and name an output_file if the answers are not for you."},
	{jobTool, "A call that takes long is answered with a job: call job with its id to wait for the result."},
}
