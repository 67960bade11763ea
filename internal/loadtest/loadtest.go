// Package loadtest finds out what hosts do under load.
//
// It makes calls as a number of concurrent callers would, each its next one as soon as the
// last is answered, for one number of callers after another, and reports rates,
// times and errors as a table, as JSON and as a plot. It promises that what was
// measured is reported also when the run is ended early. How a request gets to a
// host is given to it as contestants; two that do without a pool are here, to
// compare with. Choosing models and opening files is left to the program.
package loadtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// Options say what to measure. Zero fields take the defaults given with them.
type Options struct {
	Contestants []Contestant // at least one
	Kind        Kind         // "" means Generate
	// Models to call, at least one. Calls alternate between them, and between prompt sizes.
	Models       []string
	PromptTokens []int // approximate sizes of prompts; nil means 64
	OutputTokens int   // most tokens to generate; 0 means 64

	Callers []int // how many at once, a row of the report each; nil means 1, 2, 4, 8 and 16
	// Calls and Duration bound a row: no call begins beyond either, and those begun
	// are waited for. 0 means no bound, and 10 s where both are.
	Calls    int
	Duration time.Duration

	// Rounds is in how many turns a row is played, alternating with those of the
	// other contestants, so that what else the machines do troubles all alike; the
	// bounds are divided. 0 means one.
	Rounds int

	// Code names the kind of an error; nil means by its class of package backend.
	Code func(error) string

	Out      io.Writer // for the table; nil means none
	JSON     io.Writer // for the report as JSON; nil means none
	SVG      io.Writer // for the plot; nil means none
	Progress io.Writer // a terminal, for a line that is written over and over; nil means none
}

func (o Options) check() error {
	switch {
	case len(o.Contestants) == 0:
		return errors.New("bench: Contestants must not be empty")
	case o.Kind != Generate && o.Kind != Embed:
		return fmt.Errorf("bench: Kind is %q; known are %s and %s", o.Kind, Generate, Embed)
	case len(o.Models) == 0:
		return errors.New("bench: Models must not be empty")
	case slices.Min(o.PromptTokens) < 1:
		return errors.New("bench: PromptTokens must be at least 1")
	case o.OutputTokens < 0:
		return errors.New("bench: OutputTokens must not be negative")
	case slices.Min(o.Callers) < 1:
		return errors.New("bench: Callers must be at least 1")
	case o.Calls < 0:
		return errors.New("bench: Calls must not be negative")
	case o.Duration < 0:
		return errors.New("bench: Duration must not be negative")
	case o.Rounds < 0:
		return errors.New("bench: Rounds must not be negative")
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.Kind = cmp.Or(o.Kind, Generate)
	if len(o.PromptTokens) == 0 {
		o.PromptTokens = []int{64}
	}
	o.OutputTokens = cmp.Or(o.OutputTokens, 64)
	if len(o.Callers) == 0 {
		o.Callers = []int{1, 2, 4, 8, 16}
	}
	if o.Calls == 0 {
		o.Duration = cmp.Or(o.Duration, 10*time.Second)
	}
	o.Rounds = cmp.Or(o.Rounds, 1)
	if o.Code == nil {
		o.Code = class
	}
	return o
}

// Run measures and writes the report. When ctx ends, so does the run, without
// an error: what there is by then is written. A run in which no call was answered
// is an error.
func Run(ctx context.Context, o Options) error {
	report, err := Measure(ctx, o)
	if err != nil {
		return err
	}
	for _, form := range []struct {
		w     io.Writer
		write func(io.Writer) error
	}{{o.Out, report.WriteTable}, {o.JSON, report.WriteJSON}, {o.SVG, report.WriteSVG}} {
		if form.w == nil {
			continue
		}
		if err := form.write(form.w); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	if !report.Stopped && !slices.ContainsFunc(report.Rows, func(r Row) bool { return r.Answered > 0 }) {
		return errors.New("bench: no call was answered")
	}
	return nil
}

// Measure makes the calls. Before it measures, each contestant calls each model once,
// which loads the models and reveals mistakes at once. Measure fails if such a call does,
// or if the options cannot work.
func Measure(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &run{
		Options: o, nonce: rand.Uint32(), line: liveLine{w: o.Progress},
		turns: len(o.Callers) * len(o.Contestants) * o.Rounds,
	}
	defer r.line.erase()
	report := &Report{
		Kind: o.Kind, Models: o.Models, PromptTokens: o.PromptTokens,
		Calls: o.Calls, Duration: o.Duration.Seconds(),
	}
	if o.Kind == Generate {
		report.OutputTokens = o.OutputTokens
	}
	if err := r.warmUp(ctx); err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	rows := make([][]Row, len(o.Contestants)) // by contestant
	for _, callers := range o.Callers {
		for who, t := range r.level(ctx, callers) {
			if len(t.turns) > 0 {
				rows[who] = append(rows[who], t.row())
			}
		}
	}
	report.Rows = slices.Concat(rows...)
	report.Stopped = ctx.Err() != nil
	return report, nil
}
