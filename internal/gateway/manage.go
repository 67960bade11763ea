package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/manage"
)

// This file has the requests of Ollama's API that change which models are installed.

// progressEvery is how often a client is told how far the work is.
const progressEvery = 500 * time.Millisecond

// step is a line about work on models.
type step struct {
	Status    string `json:"status"`
	Total     int64  `json:"total,omitempty"`     // bytes
	Completed int64  `json:"completed,omitempty"` // of them
}

type pullIn struct {
	named
	Insecure bool  `json:"insecure"`
	Stream   *bool `json:"stream"`
}

// pull answers POST /api/pull. Which registries may be asked, and how, is the server's choice.
func pull(x *exchange) (finish func(), err error) {
	in, err := decode[pullIn](x.body)
	if err != nil {
		return nil, err
	}
	name, err := x.model(in.named)
	if err != nil {
		return nil, err
	}
	return x.work(in.Stream, func(ctx context.Context, p *manage.Progress) ([]manage.Outcome, error) {
		return x.opts.Manage.Pull(ctx, name, "", p)
	})
}

type copyIn struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
}

// copyModel answers POST /api/copy. A model of the new name is replaced, as Ollama replaces it.
func copyModel(x *exchange) (finish func(), err error) {
	in, err := decode[copyIn](x.body)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{in.Destination, in.Source} {
		if _, err := x.model(named{Model: name}); err != nil {
			return nil, err
		}
	}
	outcomes, err := x.opts.Manage.Copy(x.ctx, in.Source, in.Destination, "", true)
	return x.done(outcomes, err)
}

// deleteModel answers DELETE /api/delete.
func deleteModel(x *exchange) (finish func(), err error) {
	name, err := x.namedModel()
	if err != nil {
		return nil, err
	}
	outcomes, err := x.opts.Manage.Delete(x.ctx, name, "")
	return x.done(outcomes, err)
}

type createIn struct {
	named
	Stream     *bool                  `json:"stream"`
	Quantize   string                 `json:"quantize"`
	From       string                 `json:"from"`
	Template   string                 `json:"template"`
	System     string                 `json:"system"`
	Parameters map[string]any         `json:"parameters"`
	Messages   []backend.ModelMessage `json:"messages"`

	Files, Adapters map[string]string
	License         json.RawMessage
}

// create answers POST /api/create, of a model that is installed.
func create(x *exchange) (finish func(), err error) {
	in, err := decode[createIn](x.body)
	if err != nil {
		return nil, err
	}
	name, err := x.model(in.named)
	if err != nil {
		return nil, err
	}
	if len(in.Files)+len(in.Adapters)+len(in.License) > 0 {
		return nil, fault.Invalidf("files, adapters and license cannot be sent through this server: create the model on its host")
	}
	if in.From != "" {
		if err := inference.MayUse(x.who, in.From); err != nil {
			return nil, err
		}
	}
	b := manage.Blueprint{
		Name: name, From: in.From, Overwrite: true, System: in.System, Template: in.Template, Quantize: in.Quantize,
		Parameters: in.Parameters, Messages: in.Messages,
	}
	return x.work(in.Stream, func(ctx context.Context, p *manage.Progress) ([]manage.Outcome, error) {
		return x.opts.Manage.Create(ctx, b, "", p)
	})
}

// done ends a request that is answered with nothing but a status.
func (x *exchange) done(outcomes []manage.Outcome, err error) (finish func(), _ error) {
	if err != nil {
		return nil, err
	}
	x.note(outcomes)
	return func() { x.w.WriteHeader(http.StatusOK) }, nil
}

// note tells on which hosts work has failed that was done on others.
func (x *exchange) note(outcomes []manage.Outcome) {
	var failed []string
	for _, o := range outcomes {
		if o.Err != nil {
			failed = append(failed, fmt.Sprintf("It failed on %s: %s.", o.Host, fault.Of(o.Err).Message))
		}
	}
	x.w.Header().Set(headerTrace, x.call.Trace)
	if len(failed) > 0 {
		x.w.Header().Set(headerNote, plain(strings.Join(failed, " ")))
	}
}

// work does work that takes long, and tells how far it is unless the client wants one answer.
func (x *exchange) work(streams *bool, do func(context.Context, *manage.Progress) ([]manage.Outcome, error)) (finish func(), err error) {
	progress := new(manage.Progress)
	if streams != nil && !*streams {
		outcomes, err := do(x.ctx, progress)
		if err != nil {
			return nil, err
		}
		x.note(outcomes)
		return x.answer(step{Status: "success"}), nil
	}
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	ended := make(chan struct{})
	var outcomes []manage.Outcome
	go func() {
		defer close(ended)
		defer x.recovered(&err)
		outcomes, err = do(ctx, progress)
	}()
	s := &stream{exchange: x, out: lines{}}
	every := time.NewTicker(progressEvery)
	defer every.Stop()
	for last := (step{}); ; {
		select {
		case <-every.C:
			line, completed, total, _ := progress.Now()
			next := step{line, total, completed}
			if next == last {
				continue
			}
			if last = next; s.line(next) != nil {
				cancel() // the client has left
			}
			continue
		case <-ended:
		}
		break
	}
	if err != nil {
		return nil, err
	}
	return func() {
		if s.stream == nil {
			x.note(outcomes)
		}
		_ = s.line(step{Status: "success"}) // if it cannot be sent, nobody is left to be told
	}, nil
}

// line sends a line about work on models.
func (s *stream) line(l step) error {
	if s.stream == nil {
		s.begin(inference.Served{})
	}
	return s.send(l)
}

// lines are what is sent about work on models.
type lines struct{ textWriter }

func (lines) failed(_ int, _, text string) any { return ollamaError{text} }
