package route_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/route"
)

func TestPoliciesPutTheHostTheyFavourFirst(t *testing.T) {
	second := time.Second
	for _, c := range []struct {
		policy, story string
		hosts         []route.Host
		want          string // names, best first
	}{
		{"warmest", "warm before idle", []route.Host{
			{Name: "a", Slots: 4},
			{Name: "b", Slots: 4, Busy: 3, Warm: true},
		}, "b a"},
		{"warmest", "of warm ones the least busy", []route.Host{
			{Name: "a", Slots: 4, Busy: 2, Warm: true},
			{Name: "b", Slots: 8, Busy: 3, Warm: true},
			{Name: "c", Slots: 4},
		}, "b a c"},
		{"warmest", "of equally busy ones by their turn", []route.Host{
			{Name: "a", Slots: 4, Turn: 2, Latency: second},
			{Name: "b", Slots: 4, Turn: 1.5, Latency: 3 * second},
		}, "b a"},
		{"least-busy", "weight makes more of a slot", []route.Host{
			{Name: "a", Slots: 4, Busy: 1},
			{Name: "b", Slots: 4, Busy: 3, Weight: 4},
		}, "b a"},
		{"fastest", "weight makes up for latency", []route.Host{
			{Name: "a", Slots: 4, Latency: second},
			{Name: "b", Slots: 4, Latency: 2 * second, Weight: 3},
		}, "b a"},
		{"warmest", "of equals the one not used for longest", []route.Host{
			{Name: "a", Slots: 4, Order: 1},
			{Name: "b", Slots: 4, Order: 0},
		}, "b a"},
		{"least-busy", "share of slots, not calls", []route.Host{
			{Name: "a", Slots: 2, Busy: 1},
			{Name: "b", Slots: 8, Busy: 2, Warm: true},
			{Name: "c", Slots: 1},
		}, "c b a"},
		{"fastest", "latency times the calls with the new one", []route.Host{
			{Name: "a", Slots: 4, Latency: second, Busy: 3},
			{Name: "b", Slots: 4, Latency: 3 * second},
			{Name: "c", Slots: 4, Latency: 2 * second, Busy: 2},
		}, "b a c"},
		{"fastest", "one call to a host nobody knows, and no more until it is answered", []route.Host{
			{Name: "a", Slots: 4, Busy: 1},
			{Name: "b", Slots: 4, Latency: 30 * second},
			{Name: "c", Slots: 4},
		}, "c b a"},
		{"round-robin", "by turn alone", []route.Host{
			{Name: "a", Slots: 4, Turn: 2, Order: 2, Warm: true},
			{Name: "b", Slots: 4, Turn: 1, Order: 1, Busy: 3, Latency: second},
			{Name: "c", Slots: 4, Turn: 2, Order: 0},
		}, "b c a"},
	} {
		policy, err := route.ByName(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.hosts {
			c.hosts[i].Weight = cmp.Or(c.hosts[i].Weight, 1)
		}
		policy.Sort(route.Need{}, c.hosts)
		var names []string
		for _, h := range c.hosts {
			names = append(names, h.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s, %s: got %s, want %s", c.policy, c.story, got, c.want)
		}
	}
}

func TestPolicyOrdersHostsWhateverTheirOrderBefore(t *testing.T) {
	host := rapid.Custom(func(t *rapid.T) route.Host {
		return route.Host{
			Warm:    rapid.Bool().Draw(t, "warm"),
			Busy:    rapid.IntRange(0, 8).Draw(t, "busy"),
			Slots:   rapid.IntRange(1, 8).Draw(t, "slots"),
			Latency: time.Duration(rapid.IntRange(0, 3).Draw(t, "latency")) * time.Second,
			Weight:  rapid.SampledFrom([]float64{0.5, 1, 3}).Draw(t, "weight"),
			Turn:    float64(rapid.IntRange(0, 3).Draw(t, "turn")),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		hosts := rapid.SliceOfN(host, 1, 8).Draw(t, "hosts")
		for i := range hosts {
			hosts[i].Order = i // no two hosts are equal, so there is one order
		}
		shuffled := rapid.Permutation(hosts).Draw(t, "shuffled")
		for _, p := range route.Policies() {
			one, other := append([]route.Host{}, hosts...), append([]route.Host{}, shuffled...)
			p.Sort(route.Need{}, one)
			p.Sort(route.Need{}, other)
			for i := range one {
				if one[i] != other[i] {
					t.Fatalf("%s: got %v and %v from the same hosts", p.Name, one, other)
				}
			}
		}
	})
}

func TestErrorForAnUnknownPolicyNamesAllThereAre(t *testing.T) {
	_, err := route.ByName("best")
	if want := `no policy "best": want one of warmest, least-busy, fastest, round-robin`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func BenchmarkPolicy(b *testing.B) {
	hosts, sorted := make([]route.Host, 8), make([]route.Host, 8)
	for i := range hosts {
		hosts[i] = route.Host{
			Warm: i%3 == 0, Busy: i % 4, Slots: 4, Weight: 1, Order: 7 - i,
			Latency: time.Duration(1+i%5) * time.Second,
		}
	}
	for _, p := range route.Policies() {
		b.Run(p.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				copy(sorted, hosts)
				p.Sort(route.Need{}, sorted)
			}
		})
	}
}
