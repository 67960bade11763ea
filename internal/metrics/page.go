package metrics

import (
	"fmt"
	"strings"
)

// Page is the documentation of all metrics in Markdown.
func Page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, f := range families {
		labels := "–"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, labels, f.help)
	}
	b.WriteString("\nBuckets of the histograms, in seconds:\n\n| metric | buckets |\n|---|---|\n")
	for _, f := range families {
		if f.kind == histogram {
			fmt.Fprintf(&b, "| `%s` | %s |\n", f.name, strings.Trim(strings.Join(strings.Fields(fmt.Sprint(f.buckets)), ", "), "[]"))
		}
	}
	return b.String()
}

const pageHead = `# Metrics

Generated from ` + "`internal/metrics/names.go`; run `make docs`" + ` after a change.

The server serves metrics in Prometheus' format

- at ` + "`/metrics`" + ` of each ` + "`--listen`" + ` address, and
- at ` + "`--metrics-address`" + `, an address of its own, which works beside stdio too.

Programs on the same machine may read them. A Prometheus on another machine needs the key of an administrator (` + "`admin: true`" + `), which it
sends if its configuration has ` + "`authorization: {credentials_file: …}`" + `, unless the server was started with ` + "`--insecure`" + `. A server that is
scraped by a name rather than by its address needs ` + "`--allowed-host`" + ` with that name.

Names that callers choose do not become labels: a model that no host has, a caller without a configured key, and all values beyond the
first 500 of a label are counted as ` + "`other`" + `. The names of the first seven metrics are those of OpenTelemetry's conventions for MCP,
HTTP and generative AI; those that begin with ` + "`go_` and `process_`" + ` are not in the table, since they come from Prometheus' library.

For Prometheus there are [recording rules](../deploy/prometheus/recording.yml) and [alerts](../deploy/prometheus/alerts.yml), with
[tests](../deploy/prometheus/tests.yml) for ` + "`promtool`" + ` and a [configuration](../deploy/prometheus/prometheus.yml) to begin with; for Grafana a
[dashboard](../deploy/grafana/ollama-mcp.json) to import.

| metric | type | labels | what it counts |
|---|---|---|---|
`
