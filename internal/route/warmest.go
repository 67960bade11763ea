package route

import (
	"cmp"
	"slices"
)

// warmest favours a host that holds the model already: reading forty gigabytes
// from disk costs more than waiting a turn. Then comes a host that has read the beginning
// of the prompt, then the least busy, and those who are equal take turns, so that models and calls
// spread over the hosts.
func warmest(_ Need, hosts []Host) {
	slices.SortStableFunc(hosts, func(a, b Host) int {
		return cmp.Or(yesFirst(a.Warm, b.Warm), yesFirst(a.Read, b.Read), ByLoad(a, b), byTurn(a, b))
	})
}

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}
