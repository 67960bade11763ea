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
	Ranked []ranked `json:"ranked"` // the most similar first
	noted
}

type ranked struct {
	Index int     `json:"index"` // in documents, or of the file
	Name  string  `json:"name,omitempty"`
	Score float64 `json:"score"` // cosine of the angle between the vectors
}

func rank(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in rankIn, c *call) (*result, error) {
		texts, names, err := d.rankTexts(ctx, in)
		if err != nil {
			return nil, err
		}
		args := modelArgs{TimeoutSeconds: in.TimeoutSeconds, Priority: in.Priority, Host: in.Host, LocalOnly: in.LocalOnly, Truncate: new(true)}
		// The query comes last, so that what is said of an input is said of the document in
		// that place.
		got, err := d.Engine.Embed(ctx, inference.EmbedRequest{Common: args.common(ctx, c, in.Model), Input: append(texts, in.Query)})
		about := strings.NewReplacer(fmt.Sprintf("input[%d]", len(texts)), "query", "input[", "documents[").Replace
		if err != nil {
			e := fault.Of(err)
			e.Message, e.Hint = about(e.Message), about(e.Hint)
			return nil, e
		}
		out := &rankOut{Ranked: make([]ranked, len(texts))}
		for i := range texts {
			out.Ranked[i] = ranked{Index: i, Score: rounded(cosine(got.Vectors[i], got.Vectors[len(texts)]))}
			if names != nil {
				out.Ranked[i].Name = names[i]
			}
		}
		slices.SortStableFunc(out.Ranked, func(a, b ranked) int { return cmp.Compare(b.Score, a.Score) })
		if k := int(in.TopK); k > 0 {
			out.Ranked = out.Ranked[:min(k, len(out.Ranked))]
		}
		r := &result{data: out, served: &got.Served}
		for _, note := range got.Notes {
			r.notes = append(r.notes, about(note))
		}
		return r, nil
	})
}

// rankTexts are the documents of a call, with their names if they are files.
func (d Deps) rankTexts(ctx context.Context, in rankIn) (texts, names []string, err error) {
	switch {
	case strings.TrimSpace(in.Query) == "":
		return nil, nil, fault.Invalidf(`argument "query" is empty`)
	case (len(in.Documents) > 0) == (len(in.Files) > 0):
		return nil, nil, fault.Invalidf(`one of the arguments "documents" and "files" is needed, and no more than one`)
	case len(in.Files) > 0:
		dirs, err := d.dirs(ctx)
		if err != nil {
			return nil, nil, err
		}
		all, err := dirs.Read(ctx, "files", in.Files, files.Limits{})
		if err != nil {
			return nil, nil, err
		}
		for _, f := range all {
			if f.Image != nil {
				return nil, nil, fault.Invalidf(`argument "files": %s is an image, and only texts are ranked`, f.Name)
			}
			texts, names = append(texts, f.Text), append(names, f.Name)
		}
	default:
		texts = in.Documents
	}
	for i, text := range texts {
		if strings.TrimSpace(text) == "" && names != nil {
			return nil, nil, fault.Invalidf(`argument "files": %s is empty`, names[i])
		} else if strings.TrimSpace(text) == "" {
			return nil, nil, fault.Invalidf("documents[%d] is empty", i)
		}
	}
	return slices.Clip(texts), names, nil
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
