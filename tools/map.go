package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/cache"
	"ollama-mcp/internal/batch"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/files"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/quota"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/schema"
)

type mapIn struct {
	Model  modelName `json:"model" jsonschema:"name from list-models"`
	Prompt string    `json:"prompt" jsonschema:"with {{input}}, or {{field}} for fields of objects"`
	Inputs inputs    `json:"inputs,omitempty" jsonschema:"texts, or objects with fields"`
	Lines  paths     `json:"lines,omitempty" jsonschema:"files or globs whose lines are inputs"`
	Files  paths     `json:"files,omitempty" jsonschema:"files or globs that are an input each"`
	System string    `json:"system,omitempty" jsonschema:"instructions for the model"`
	Offset offset    `json:"offset,omitempty" jsonschema:"first result to show"`
	Resume *bool     `json:"resume,omitempty" jsonschema:"false: ask everything again"`
	outputArgs
	textArgs
}

type (
	inputs []json.RawMessage
	offset int
)

// mapOut is what a batch has come to, with its first results.
type mapOut struct {
	Inputs     int      `json:"inputs"`
	Answered   int      `json:"answered"`
	Failed     int      `json:"failed"`
	Unasked    int      `json:"unasked,omitempty"`
	Reused     int      `json:"reused,omitempty"` // of an earlier call
	Duplicates int      `json:"duplicates,omitempty"`
	TokensIn   int      `json:"tokens_in"`
	TokensOut  int      `json:"tokens_out"`
	Offset     int      `json:"offset,omitempty"`
	Results    []mapRow `json:"results"`
	Path       string   `json:"path,omitempty"` // of output_file
	Bytes      int64    `json:"bytes,omitempty"`
	URI        string   `json:"uri,omitempty"` // of the first page of all results
	Pages      int      `json:"pages,omitempty"`
	ExpiresAt  string   `json:"expires_at,omitempty"`
	noted
}

// mapRow is what an input has ended in, a line of the file and of the resource.
type mapRow struct {
	Index  int             `json:"index"` // from 0
	Name   string          `json:"name,omitempty"`
	Output string          `json:"output,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"` // instead of output, with format
	Error  *fault.Error    `json:"error,omitempty"`
	// Partial is what there was of an answer when the time was over.
	Partial string   `json:"partial,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

func mapTool(d Deps, a about) mcpserver.ServerTool {
	a.hints = d.writesFiles(a.hints)
	return define(d, a, func(ctx context.Context, in mapIn, c *call) (*result, error) {
		source, to, err := d.openMap(ctx, in)
		if err != nil {
			return nil, err
		}
		if limit := in.timeout(); limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, c.Began.Add(limit))
			defer cancel()
		}
		c.reports(func() jobs.Progress { return jobs.Progress{Message: "reading the inputs"} })
		b, err := batch.New(ctx, d.batchOf(ctx, in, c, source))
		if err != nil {
			return nil, err
		}
		defer b.Close()
		c.reports(func() jobs.Progress {
			at := b.Progress()
			return jobs.Progress{Message: at.Message, Done: at.Done, Of: at.Of, Expected: at.Expected}
		})
		b.Run(ctx)
		return d.mapped(ctx, in, b, to)
	})
}

// openMap finds the inputs, and the file that the results go to; to is nil for none.
func (d Deps) openMap(ctx context.Context, in mapIn) (source batch.Inputs, to *files.Output, err error) {
	given := 0
	for _, n := range []int{len(in.Inputs), len(in.Lines), len(in.Files)} {
		given += min(n, 1)
	}
	if given != 1 {
		return nil, nil, fault.Invalidf(`one of the arguments "inputs", "lines" and "files" is needed, and no more than one`)
	}
	if len(in.Lines) == 0 && len(in.Files) == 0 && in.OutputFile == "" {
		return batch.Values(in.Inputs), nil, nil
	}
	dirs, err := d.dirs(ctx)
	if err == nil && in.OutputFile != "" {
		to, err = dirs.Create("output_file", in.OutputFile, in.Overwrite)
	}
	if err != nil {
		return nil, nil, err
	}
	switch {
	case len(in.Lines) > 0:
		lines, err := dirs.Lines(ctx, "lines", in.Lines, batch.MaxInputs, batch.MaxInputBytes)
		if err != nil {
			return nil, nil, err
		}
		return batch.Lines{Lines: lines}, to, nil
	case len(in.Files) > 0:
		list, err := dirs.List(ctx, "files", in.Files, batch.MaxInputs)
		return batch.Files{List: list}, to, err
	}
	return batch.Values(in.Inputs), to, nil
}

// batchOf is the work of a call.
func (d Deps) batchOf(ctx context.Context, in mapIn, c *call, source batch.Inputs) batch.Spec {
	req := in.request(ctx, c, inference.Generate, in.Model)
	req.System, req.Timeout, req.Batched, req.KeptByCaller = in.System, 0, true, true // in a journal
	if in.Priority != "interactive" {
		req.Priority = route.Batch
	}
	afresh := in.Resume != nil && !*in.Resume || req.Cache == cache.Refresh
	if afresh && req.Cache == "" {
		req.Cache = cache.Refresh
	}
	who := caller.FromContext(ctx)
	return batch.Spec{
		Engine: d.Engine, Journals: d.Batches, Request: req, Template: batch.ParseTemplate(in.Prompt), Inputs: source, Afresh: afresh,
		Hold: func() (func(int64) error, func()) {
			held := d.fileShare.Part(who.ID)
			return holding(held), held.Give
		},
		Admit: func(others int) (func(), time.Duration) {
			end, err := d.Quota.BeginPart(who, others)
			if over, ok := errors.AsType[*quota.Exceeded](err); ok {
				return nil, over.RetryAfter
			}
			return end, 0
		},
	}
}

// mapped is the result of a batch that has ended.
func (d Deps) mapped(ctx context.Context, in mapIn, b *batch.Batch, to *files.Output) (*result, error) {
	sum := b.Summary()
	if stopped := sum.Stopped; stopped != nil && (sum.Answered == 0 || ctx.Err() != nil && stopped.Code == fault.Cancelled) {
		stopped.Message = fmt.Sprintf("%d of %d inputs were answered: %s", sum.Answered, sum.Inputs, stopped.Message)
		if sum.Answered > 0 {
			stopped.Hint = "the same call again asks only for the others"
		}
		return nil, stopped
	}
	out := &mapOut{
		Inputs: sum.Inputs, Answered: sum.Answered, Failed: sum.Failed, Unasked: sum.Unasked, Reused: sum.Reused, Duplicates: sum.Duplicates,
		TokensIn: sum.TokensIn, TokensOut: sum.TokensOut, Offset: int(in.Offset),
	}
	r := &result{data: out, notes: mapNotes(sum)}
	shown := d.show(out, b)
	if to != nil {
		size, err := to.Write(func(w io.Writer) error { return writeRows(w, b) })
		if err != nil {
			e := fault.Of(err)
			e.Hint = "the answers are kept: the same call with another output_file costs nothing"
			return nil, e
		}
		out.Path, out.Bytes = to.Path(), size
		return r, nil
	}
	if shown == sum.Inputs {
		return r, nil
	}
	next := int(in.Offset) + shown
	if next >= sum.Inputs {
		next = 0 // what is left are those before
	}
	more := fmt.Sprintf("call again with offset %d", next)
	doc, fits := resultsDocument(b, d.Documents.largest())
	doc.ttl = max(d.Jobs.TTL(), documentTTL)
	if fits && d.Documents.keep(ctx, caller.FromContext(ctx), doc) {
		out.URI, out.Pages, out.ExpiresAt = doc.uri+"/1", len(doc.ends), timestamp(doc.expires)
		more += ", or read the pages at the URI"
	}
	r.notes = append(r.notes, fmt.Sprintf("%d of %d results are shown. For the others %s, or name an output_file; nothing is asked twice.", shown, sum.Inputs, more))
	return r, nil
}

// mapNotes are what the reader of the results must know of them.
func mapNotes(sum batch.Summary) (notes []string) {
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if sum.Stopped != nil {
		add("Inputs not asked: %d (%v). The same call again asks only for them and for those that failed.", sum.Unasked, sum.Stopped)
	} else if sum.Failed > 0 {
		add("Inputs that failed: %d. The same call again asks only for them.", sum.Failed)
	}
	if sum.Reused > 0 {
		add("Answers of an earlier call: %d; to ask again set resume to false.", sum.Reused)
	}
	return notes
}

// row is a line of the results.
func row(b *batch.Batch, i int) mapRow {
	item := b.Item(i)
	r := mapRow{Index: i, Output: item.Text, Data: item.Data, Notes: item.Notes, Error: item.Err}
	if !strings.HasPrefix(item.Name, "inputs[") {
		r.Name = item.Name
	}
	if item.Err != nil {
		r.Output, r.Data, r.Notes, r.Partial = "", nil, nil, item.Err.Partial
	}
	return r
}

// show puts as many results into the output as it may have, and returns their number.
func (d Deps) show(out *mapOut, b *batch.Batch) (shown int) {
	left := d.InlineBytes
	out.Results = []mapRow{}
	for i := out.Offset; i < out.Inputs; i++ {
		r := row(b, i)
		if left -= len(schema.Readable(r)) + 1; left < 0 && i > out.Offset {
			break // but after one result, without which no call would get any further
		}
		out.Results = append(out.Results, r)
	}
	return len(out.Results)
}

func writeRows(w io.Writer, b *batch.Batch) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for i := range b.Len() {
		if err := encoder.Encode(row(b, i)); err != nil {
			return err
		}
	}
	return nil
}

// pageBytes is about how much of the results a page has: some 8,000 tokens.
const pageBytes = 32 << 10

// resultsDocument has all results, in pages, unless they have more bytes than most.
func resultsDocument(b *batch.Batch, most int) (doc *document, fits bool) {
	doc = &document{kind: resultsKind}
	var all bytes.Buffer
	encoder, begun := json.NewEncoder(&all), 0
	encoder.SetEscapeHTML(false)
	for i := range b.Len() {
		_ = encoder.Encode(row(b, i)) // into memory, and of values of ours
		if all.Len() > most {
			return doc, false
		}
		if all.Len()-begun >= pageBytes || i == b.Len()-1 {
			begun = all.Len()
			doc.ends = append(doc.ends, begun)
		}
	}
	doc.data = bytes.Clone(all.Bytes()) // the buffer may be twice as large
	return doc, true
}
