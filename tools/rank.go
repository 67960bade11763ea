package tools

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/files"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/order"
	"ollama-mcp/internal/share"
)

type rankIn struct {
	Model     modelName `json:"model" jsonschema:"embedding model"`
	Query     string    `json:"query" jsonschema:"what to look for"`
	Documents documents `json:"documents,omitempty" jsonschema:"texts"`
	Files     paths     `json:"files,omitempty" jsonschema:"text files or globs to rank"`
	TopK      count     `json:"top_k,omitempty" jsonschema:"only the best"`

	TimeoutSeconds period   `json:"timeout_seconds,omitempty"`
	Priority       priority `json:"priority,omitempty"`
	Host           string   `json:"host,omitempty"`
	LocalOnly      bool     `json:"local_only,omitempty"`
}

type documents []string

type rankOut struct {
	Ranked []ranked      `json:"ranked"`           // the most similar first
	Errors []failedInput `json:"errors,omitempty"` // of documents that could not be compared
	noted
}

type ranked struct {
	Index int     `json:"index"` // in documents, or of the file
	Name  string  `json:"name,omitempty"`
	Score float64 `json:"score"` // cosine of the angle between the vectors
}

func rank(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in rankIn, c *call) (*result, error) {
		held := d.fileShare.Part(c.Caller.ID)
		defer held.Give()
		texts, names, notes, err := d.rankTexts(ctx, in, held)
		if err != nil {
			return nil, err
		}
		args := modelArgs{TimeoutSeconds: in.TimeoutSeconds, Priority: in.Priority, Host: in.Host, LocalOnly: in.LocalOnly, Truncate: new(true)}
		// The query comes last, so that what is said of an input is said of the document in
		// that place.
		got, err := d.Engine.Embed(ctx, inference.EmbedRequest{Common: args.common(ctx, c, in.Model), Input: append(texts, in.Query), Partial: true})
		if err != nil {
			return nil, aboutDocuments(err, len(texts))
		}
		got.Notes = append(notes, got.Notes...)
		return ranking(in, got, names)
	})
}

// aboutDocuments puts what is said of the inputs of an embedding request in the words of rank:
// the first n are documents, and the last is the query.
func aboutDocuments(err error, n int) *fault.Error {
	e, about := fault.Of(err), documentWords(n)
	e.Message, e.Hint = about(e.Message), about(e.Hint)
	return e
}

func documentWords(n int) func(string) string {
	return strings.NewReplacer(fmt.Sprintf("input[%d]", n), "query", "input[", "documents[").Replace
}

// ranking orders documents by their vectors, of which the query's is the last.
func ranking(in rankIn, got *inference.Embeddings, names []string) (*result, error) {
	n := len(got.Vectors) - 1
	if len(got.Failed) > 0 && got.Failed[len(got.Failed)-1].Input == n {
		e := aboutDocuments(got.Failed[len(got.Failed)-1].Err, n)
		e.Message = "query: " + e.Message
		return nil, e
	}
	if len(got.Failed) == n {
		e := aboutDocuments(got.Failed[0].Err, n)
		e.Message = "no document can be compared: documents[0]: " + e.Message
		return nil, e
	}
	out := &rankOut{Ranked: []ranked{}}
	nameOf := func(i int) string {
		if names == nil {
			return ""
		}
		return names[i]
	}
	for i, vector := range got.Vectors[:n] {
		if vector != nil {
			out.Ranked = append(out.Ranked, ranked{Index: i, Name: nameOf(i), Score: rounded(cosine(vector, got.Vectors[n]))})
		}
	}
	order.Stable(out.Ranked, func(a, b ranked) int { return cmp.Compare(b.Score, a.Score) })
	if k := int(in.TopK); k > 0 {
		out.Ranked = out.Ranked[:min(k, len(out.Ranked))]
	}
	notes := got.Notes
	var note string
	if out.Errors, note = failedInputs(n, got.Failed); note != "" {
		notes = append(notes, note)
		for i := range out.Errors {
			out.Errors[i].Name = nameOf(out.Errors[i].Index)
		}
	}
	if len(out.Errors) > mostErrors {
		out.Errors = out.Errors[:mostErrors]
		notes = append(notes, fmt.Sprintf("Only the first %d errors are shown.", mostErrors))
	}
	r := &result{data: out, served: &got.Served}
	for _, note := range notes {
		r.notes = append(r.notes, documentWords(n)(note))
	}
	return r, nil
}

// rankTexts are the documents of a call, with their names if they are files, and notes about those.
func (d Deps) rankTexts(ctx context.Context, in rankIn, held *share.Part) (texts, names, notes []string, err error) {
	switch {
	case strings.TrimSpace(in.Query) == "":
		return nil, nil, nil, fault.Invalidf(`argument "query" is empty`)
	case (len(in.Documents) > 0) == (len(in.Files) > 0):
		return nil, nil, nil, fault.Invalidf(`one of the arguments "documents" and "files" is needed, and no more than one`)
	case len(in.Files) == 0:
		for i, text := range in.Documents {
			if strings.TrimSpace(text) == "" {
				return nil, nil, nil, fault.Invalidf("documents[%d] is empty", i)
			}
		}
		return slices.Clip(in.Documents), nil, nil, nil
	}
	dirs, err := d.dirs(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	all, err := d.readFiles(ctx, dirs, in.Files, held)
	if err != nil {
		return nil, nil, nil, err
	}
	all, notes, err = useful(all, func(f files.File) string {
		switch {
		case f.Image != nil:
			return "is an image, and only texts are ranked"
		case strings.TrimSpace(f.Text) == "":
			return "is empty"
		}
		return ""
	})
	for _, f := range all {
		texts, names = append(texts, f.Text), append(names, f.Name)
	}
	return texts, names, notes, err
}

// cosine is that of the angle between two vectors of the same length; 0 if one has no direction.
func cosine(a, b []float32) float64 {
	var dot, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb = dot+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return dot / math.Sqrt(aa*bb)
}
