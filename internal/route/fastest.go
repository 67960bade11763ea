package route

import (
	"cmp"
	"math"
	"slices"
)

// fastest favours the least latency times calls in progress, the new one included, over
// the weight: the peak EWMA of Finagle and linkerd. A host that fails at once does not win by
// that, since a failure counts as a long call.
func fastest(_ Need, hosts []Host) {
	slices.SortStableFunc(hosts, func(a, b Host) int {
		return cmp.Or(byCost(a, b), yesFirst(a.Read, b.Read), byTurn(a, b))
	})
}

func byCost(a, b Host) int { return cmp.Compare(cost(a), cost(b)) }

// cost is 0 for a host that nothing is known of, so that one call finds out; until
// that call is over, others go elsewhere.
func cost(h Host) float64 {
	if h.Latency == 0 && h.Busy > 0 {
		return math.Inf(1)
	}
	return float64(h.Latency) * float64(h.Busy+1) / h.Weight
}
