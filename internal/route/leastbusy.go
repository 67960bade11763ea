package route

import (
	"cmp"
	"slices"
)

// leastBusy favours the host with the smallest part of its slots taken, each slot counted
// by the host's weight. Of equals those come first that have read the beginning of the prompt;
// others take turns. It looks at all hosts rather than at two at
// random, which is no better until there are many.
func leastBusy(_ Need, hosts []Host) {
	slices.SortStableFunc(hosts, func(a, b Host) int {
		return cmp.Or(ByLoad(a, b), yesFirst(a.Read, b.Read), byTurn(a, b))
	})
}

// ByLoad compares how busy two hosts are: Busy/(Slots*Weight), without dividing.
func ByLoad(a, b Host) int {
	return cmp.Compare(float64(a.Busy)*float64(b.Slots)*b.Weight, float64(b.Busy)*float64(a.Slots)*a.Weight)
}
