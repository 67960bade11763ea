//go:build unix

package call_test

import (
	"fmt"
	"syscall"
	"testing"

	"ollama-mcp/internal/call"
)

func TestTerminalsSignalsDoNotReachTheServer(t *testing.T) {
	var pid, group int
	var err error
	stderr := &onText{text: "slow: began"}
	runInterruptible(t, call.Options{Tool: "slow", Stderr: stderr}, func(interrupt func()) {
		stderr.do = func() {
			if pid == 0 {
				fmt.Sscanf(stderr.String(), "slow: began, process %d", &pid)
				group, err = syscall.Getpgid(pid)
			}
			interrupt()
		}
	})
	if err != nil || group == 0 || group == syscall.Getpgrp() {
		t.Errorf("the server %d is in the process group %d (%v), want one of its own", pid, group, err)
	}
}
