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

// measureObserved measures what metrics, traces, the call log and the page cost: the server with
// all of them takes turns with the server as it is. Files go to temp.
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
	bare, err := start(ctx, p.server, h.url)
	if err != nil {
		return err
	}
	defer bare.close()
	observed, err := start(ctx, slices.Concat(p.server, observing(temp)), h.url,
		"OTEL_EXPORTER_OTLP_ENDPOINT="+receiver.URL, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG="+tracedPart)
	if err != nil {
		return err
	}
	defer observed.close()

	fmt.Fprintf(w, "\nmetrics, traces of %s of the calls, call log and page: medians of %d rounds of %d calls\n\n", tracedPart, p.rounds, p.calls)
	const cells = "%-50s%12s%10s%10s\n"
	fmt.Fprintf(w, cells, "", "without", "with", "ratio")
	for _, callers := range []int{1, 8} {
		var without, with []float64
		for i := range 1 + p.rounds {
			var took [2]float64
			for _, who := range rand.Perm(2) {
				t, err := takeTurn(ctx, []contender{bare, observed}[who], callers, p.calls)
				if err != nil {
					return err
				}
				took[who] = micros(t.processor)
			}
			if i > 0 { // the first warms up
				without, with = append(without, took[0]), append(with, took[1])
			}
		}
		fmt.Fprintf(w, cells, newRow("processor time a call, µs", callers).name,
			fmt.Sprintf("%.0f", median(without)), fmt.Sprintf("%.0f", median(with)), fmt.Sprintf("%.3f", medianRatio(with, without)))
	}
	return nil
}
