package call

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/table"
)

// modelList is the result of list-models, as far as it is printed.
type modelList struct {
	Models []struct {
		Name         string   `json:"name"`
		Size         int64    `json:"size_bytes"`
		Parameters   string   `json:"parameters"`
		Quantization string   `json:"quantization"`
		Context      int      `json:"context_length"`
		Capabilities []string `json:"capabilities"`
		Hosts        []string `json:"hosts"`
		Loaded       []string `json:"loaded"`
		Cloud        []string `json:"cloud"`
	} `json:"models"`
	Aliases []struct {
		Name      string   `json:"name"`
		StandsFor []string `json:"stands_for"`
	} `json:"aliases"`
	Unreachable map[string]string `json:"unreachable"`
}

func printModels(w io.Writer, out *modelList, _ time.Time) {
	models := table.Table{Head: []string{"MODEL", ">SIZE", ">PARAMETERS", "QUANTIZATION", ">CONTEXT", "CAPABILITIES", "HOSTS", "IN MEMORY ON"}}
	for _, m := range out.Models {
		for i, host := range m.Hosts {
			if slices.Contains(m.Cloud, host) {
				m.Hosts[i] += " (cloud)"
			}
		}
		bytes := ""
		if m.Size > 0 {
			bytes = table.Size(m.Size)
		}
		models.Row(m.Name, bytes, m.Parameters, m.Quantization, table.Grouped(m.Context),
			strings.Join(m.Capabilities, ", "), strings.Join(m.Hosts, ", "), strings.Join(m.Loaded, ", "))
	}
	if len(out.Models) == 0 {
		fmt.Fprintln(w, "No models.")
	}
	models.Print(w, true)
	aliases := table.Table{Head: []string{"ALIAS", "STANDS FOR THE FIRST AVAILABLE OF"}}
	for _, a := range out.Aliases {
		aliases.Row(a.Name, strings.Join(a.StandsFor, ", "))
	}
	aliases.Print(w, false)
	unreachable := table.Table{Head: []string{"HOST NOT REACHED", "REASON"}}
	for _, host := range slices.Sorted(maps.Keys(out.Unreachable)) {
		unreachable.Row(host, out.Unreachable[host])
	}
	unreachable.Print(w, false)
}
