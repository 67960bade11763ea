//go:build unix

package netserve

import (
	"math"

	"golang.org/x/sys/unix"
)

// openFiles is how many files the process may have open at once; 0 for any number. Go has raised
// the limit as far as it may before main.
func openFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > math.MaxInt32 {
		return 0
	}
	return int(limit.Cur)
}
