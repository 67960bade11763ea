package route

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Host is what a policy knows of a host that could serve a request now.
type Host struct {
	Name   string
	Warm   bool    // holds the model in memory, with the right runner options
	Busy   int     // calls that it works on
	Slots  int     // calls that it is given at once; at least 1
	Weight float64 // what part of the calls it should get beside others; more than 0
	// Read says that the host has read the longest beginning of the prompt that any has, and is no
	// more than one call busier than the others; see Need.Prefixes.
	Read bool
	// Latency is what a call has taken there of late, failures counted as very long;
	// see EWMA. 0 means that nothing is known.
	Latency time.Duration
	// Turn says how many calls the host has been given, each counted as one over Weight.
	// A host that was away or busy meanwhile does not fall behind by that.
	Turn  float64
	Order int // place among all hosts by the time of their last call, the longest ago first
}

// Policy orders the hosts that could serve a request now.
type Policy struct {
	Name string
	Doc  string // one line that says what it favours
	// Sort sorts hosts in place, the best for a request first. It keeps nothing between
	// calls and may be called by several goroutines at once.
	Sort func(Need, []Host)
	// Strict says that the order alone decides. Under other policies a host that is slow,
	// or would have to load the model, leaves a call to others that should be done sooner.
	Strict bool
}

// Policies are all that there are, the default first.
func Policies() []Policy {
	return []Policy{
		{Name: "warmest", Doc: "a host that has the model in memory, then the least busy", Sort: warmest},
		{Name: "least-busy", Doc: "the host with the smallest part of its slots taken", Sort: leastBusy, Strict: true},
		{Name: "fastest", Doc: "the host whose last calls were fastest, for its load", Sort: fastest},
		{Name: "round-robin", Doc: "each host in turn; for equal hosts only", Sort: roundRobin, Strict: true},
	}
}

// ByName finds a policy. Its error names all that there are.
func ByName(name string) (Policy, error) {
	var names []string
	for _, p := range Policies() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Policy{}, fmt.Errorf("no policy %q: want one of %s", name, strings.Join(names, ", "))
}

// byTurn puts hosts in the order of weighted turns.
func byTurn(a, b Host) int {
	return cmp.Or(cmp.Compare(a.Turn, b.Turn), cmp.Compare(a.Order, b.Order))
}
