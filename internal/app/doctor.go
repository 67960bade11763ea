package app

import (
	"context"
	"fmt"
	"net/netip"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/doctor"
)

// examine prints problems with the hosts and their solutions.
func examine(ctx context.Context, args []string, std Stdio) int {
	var c config.Config
	if done, status := parse(config.Flags(&c), &c, args, std); done {
		return status
	}
	var all []backend.Backend
	for _, spec := range specs(c) {
		spec, _ = spec.Fixed()
		host, err := open(spec, netip.Addr{})
		if err != nil {
			return complain(std, fmt.Errorf("host %s: %w", spec.Name, err))
		}
		defer host.Close()
		all = append(all, host)
	}
	if !doctor.Run(ctx, doctor.Options{Hosts: all, Out: std.Out}) {
		return failure
	}
	return ok
}
