package call

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
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
	models := table{head: []string{"MODEL", ">SIZE", ">PARAMETERS", "QUANTIZATION", ">CONTEXT", "CAPABILITIES", "HOSTS", "IN MEMORY ON"}}
	for _, m := range out.Models {
		for i, host := range m.Hosts {
			if slices.Contains(m.Cloud, host) {
				m.Hosts[i] += " (cloud)"
			}
		}
		bytes := ""
		if m.Size > 0 {
			bytes = size(m.Size)
		}
		models.row(m.Name, bytes, m.Parameters, m.Quantization, grouped(m.Context),
			strings.Join(m.Capabilities, ", "), strings.Join(m.Hosts, ", "), strings.Join(m.Loaded, ", "))
	}
	if len(out.Models) == 0 {
		fmt.Fprintln(w, "No models.")
	}
	models.print(w, true)
	aliases := table{head: []string{"ALIAS", "STANDS FOR THE FIRST AVAILABLE OF"}}
	for _, a := range out.Aliases {
		aliases.row(a.Name, strings.Join(a.StandsFor, ", "))
	}
	aliases.print(w, false)
	unreachable := table{head: []string{"HOST NOT REACHED", "REASON"}}
	for _, host := range slices.Sorted(maps.Keys(out.Unreachable)) {
		unreachable.row(host, out.Unreachable[host])
	}
	unreachable.print(w, false)
}
