package pool_test

import (
	"context"
	"fmt"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// A request is lent a host that meets its need. If the host fails, With calls the function
// again with another one.
func Example() {
	hosts, err := pool.New(pool.Options{
		Hosts: []backend.Backend{host{name: "gpu-1"}, host{name: "gpu-2"}},
		Slots: 4,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	need := route.Need{
		Model:   "qwen3:8b",
		Caller:  "alice",
		OnRetry: func(r route.Retry) { fmt.Println("trying another host, since", r.Err) },
	}
	err = hosts.With(context.Background(), need, func(_ context.Context, l *pool.Lease) error {
		fmt.Printf("attempt %d on %s\n", l.Attempt, l.Host.Name())
		if l.Host.Name() == "gpu-1" {
			return &backend.Error{Host: "gpu-1", Class: backend.Transport, Message: "connection refused"}
		}
		return nil // use l.Host here
	})
	fmt.Println("error:", err)

	// Output:
	// attempt 1 on gpu-1
	// trying another host, since gpu-1: unreachable: connection refused
	// attempt 2 on gpu-2
	// error: <nil>
}
