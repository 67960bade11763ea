package tools

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/order"
)

type chooseIn struct {
	Model        modelName `json:"model" jsonschema:"name from list-models"`
	Text         string    `json:"text" jsonschema:"text to label"`
	Labels       labels    `json:"labels" jsonschema:"2 to 20 labels to choose from"`
	Instructions string    `json:"instructions,omitempty" jsonschema:"what the labels mean"`
	Fallback     fallbacks `json:"fallback_models,omitempty" jsonschema:"unlisted: models to try in order if this one cannot answer"`
	modelArgs
}

type labels []string

type chooseOut struct {
	Label         string             `json:"label"`
	Confidence    *float64           `json:"confidence,omitempty"` // nil if it is not known
	Probabilities []labelProbability `json:"probabilities,omitempty"`
	Model         string             `json:"model"`
	noted
}

type labelProbability struct {
	Label       string  `json:"label"`
	Probability float64 `json:"probability"`
}

func choose(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in chooseIn, c *call) (*result, error) {
		got, err := d.Engine.Choose(ctx, inference.ChooseRequest{
			Common: in.common(ctx, c, in.Model), Text: in.Text, Labels: in.Labels, Instructions: in.Instructions, Fallback: in.Fallback,
		})
		if err != nil {
			return nil, err
		}
		out := &chooseOut{Label: in.Labels[got.Label], Model: got.Served.Model}
		r := &result{data: out, notes: got.Notes, served: &got.Served}
		if got.Confidence < 0 {
			r.notes = append(r.notes, fmt.Sprintf("%s tells no probabilities, so it is not known how sure the model is.", got.Served.Host))
		} else {
			out.Confidence = new(rounded(got.Confidence))
		}
		for i, p := range got.Probabilities {
			out.Probabilities = append(out.Probabilities, labelProbability{in.Labels[i], rounded(p)})
		}
		order.Stable(out.Probabilities, func(a, b labelProbability) int { return cmp.Compare(b.Probability, a.Probability) })
		if len(got.Unsure) > 0 {
			r.notes = append(r.notes, "Not confident enough for its ladder: "+strings.Join(got.Unsure, ", ")+".")
		}
		return r, nil
	})
}
