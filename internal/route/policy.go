package route

import (
	"fmt"
	"strings"
	"time"
)

// Host is what a policy knows of a host that could serve a request now.
type Host struct {
	Name  string
	Warm  bool // holds the model in memory, with the right runner options
	Busy  int  // calls that it works on
	Slots int  // calls that it is given at once; at least 1
	// Latency is what a call has taken there of late, failures counted as very long;
	// see EWMA. 0 means that nothing is known.
	Latency time.Duration
	Order   int // place among all hosts by the time of their last call, the longest ago first
}

// Policy sorts hosts in place, the best for a request first. It keeps nothing between
// calls and may be used by several goroutines at once.
type Policy func(Need, []Host)

// Named is a policy that can be chosen by name.
type Named struct {
	Name string
	Doc  string // one line that says what it favours
	Sort Policy
}

// Policies are all that there are, the default first.
func Policies() []Named {
	return []Named{
		{"warmest", "a host that has the model in memory, then the least busy", warmest},
		{"least-busy", "the host with the smallest part of its slots taken", leastBusy},
		{"fastest", "the host whose last calls were fastest, for its load", fastest},
		{"round-robin", "the host whose last call is longest ago; for equal hosts only", roundRobin},
	}
}

// ByName finds a policy. Its error names all that there are.
func ByName(name string) (Policy, error) {
	var names []string
	for _, p := range Policies() {
		if p.Name == name {
			return p.Sort, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("no policy %q: want one of %s", name, strings.Join(names, ", "))
}
