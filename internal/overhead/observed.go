package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
)

// tracedPart is the part of the calls that is traced.
const tracedPart = "0.01"

// observing turns on metrics and the page, beside stdio, and the call log.
func observing(dir string) []string {
	return []string{"--metrics-address=127.0.0.1:0", "--dashboard=127.0.0.1:0", "--call-log=" + filepath.Join(dir, "calls.jsonl")}
}

// pair are processor times of a call, in microseconds: those of the server that is observed, those of
// the same server that is not, and their ratios.
type pair struct{ with, without, ratios []float64 }

func (p *pair) add(without, with []float64) {
	p.with, p.without = append(p.with, median(with)), append(p.without, median(without))
	p.ratios = append(p.ratios, medianRatio(with, without))
}

// measureObserved measures what metrics, traces, the call log and the page cost: the server with
// all of them takes turns with the server as it is. Both are started anew again and again, since two
// processes of the same program differ by as much as is measured. Files go to temp.
func measureObserved(ctx context.Context, p plan, temp string, w io.Writer) error {
	h, err := newHost(0, 0)
	if err != nil {
		return err
	}
	defer h.close()
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // of spans
	}))
	defer receiver.Close()
	fmt.Fprintf(w, "\nmetrics, traces of %s of the calls, call log and page: medians of %d starts, and of %d rounds of %d calls in each\n\n",
		tracedPart, p.starts, p.rounds, p.calls)
	callers := []int{1, 8}
	pairs := make([]pair, len(callers))
	for range p.starts {
		if err := p.takeTurnsObserved(ctx, h.url, receiver.URL, temp, callers, pairs); err != nil {
			return err
		}
	}
	const cells = "%-50s%12s%10s%10s\n"
	fmt.Fprintf(w, cells, "", "without", "with", "ratio")
	for i, n := range callers {
		fmt.Fprintf(w, cells, newRow("processor time a call, µs", n).name,
			fmt.Sprintf("%.0f", median(pairs[i].without)), fmt.Sprintf("%.0f", median(pairs[i].with)), fmt.Sprintf("%.3f", median(pairs[i].ratios)))
	}
	return nil
}

// takeTurnsObserved starts both servers, has them take turns with each number of callers, and adds
// what it measures.
func (p plan) takeTurnsObserved(ctx context.Context, host, receiver, temp string, callers []int, to []pair) error {
	bare, err := start(ctx, p.server, host)
	if err != nil {
		return err
	}
	defer bare.close()
	observed, err := start(ctx, slices.Concat(p.server, observing(temp)), host,
		"OTEL_EXPORTER_OTLP_ENDPOINT="+receiver, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG="+tracedPart)
	if err != nil {
		return err
	}
	defer observed.close()
	for i, n := range callers {
		var took [2][]float64
		for round := range 1 + p.rounds {
			for _, who := range rand.Perm(2) {
				t, err := takeTurn(ctx, []contender{bare, observed}[who], n, p.calls)
				if err != nil {
					return err
				}
				if round > 0 { // the first warms up
					took[who] = append(took[who], micros(t.processor))
				}
			}
		}
		to[i].add(took[0], took[1])
	}
	return nil
}
