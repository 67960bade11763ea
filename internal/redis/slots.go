package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/pool"
)

// The slots of all hosts are leased to the replicas. Each has a field in one hash, with how many of
// each host it has and until when, and stops to use what it gives back before it says so:
// no two replicas ever use the same slot while the server answers.

// leaseScript reads and writes what the replicas have. It decides nothing, so that it takes the server hardly any
// time: a replica reads, divides the slots itself (see division), and writes what it takes, unless another
// has taken some meanwhile.
//
// Keys: the hash, and what names a replica for a moment that lacks slots. Arguments, to read: none. To write:
// replica, the time in ms until it has to renew its leases, its leases (see encodeLeases), the number of times that slots
// were taken when it read, or nothing if it takes none, and whether it lacks slots (1 or 0); then names of
// replicas that are removed if their leases have ended. Results: 1 if the leases were written; else 0,
// the server's time in ms, the replica that lacks slots, and the hash.
var leaseScript = newScript(`
local key, own, lease, takes = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if not own or takes ~= '' and takes ~= (redis.call('HGET', key, 'takes') or '0') then
  return {0, now, redis.call('GET', KEYS[2]), redis.call('HGETALL', key)}
end
for i = 6, #ARGV do
  local ends = string.match(redis.call('HGET', key, ARGV[i]) or '', '^%d+')
  if not ends or tonumber(ends) <= now or tonumber(ends) > now + 10 * lease then redis.call('HDEL', key, ARGV[i]) end
end
if takes ~= '' then redis.call('HINCRBY', key, 'takes', 1) end
if ARGV[5] == '1' then redis.call('SET', KEYS[2], own, 'PX', 100) end
redis.call('HSET', key, own, string.format('%.0f', now + lease) .. ARGV[3])
redis.call('PEXPIRE', key, string.format('%.0f', 10 * lease))
return {1}`)

const (
	// shareInterval is how often leases are renewed, and news exchanged, and hurryInterval how often
	// it is looked whether leases should be renewed before.
	shareInterval = time.Second
	hurryInterval = 50 * time.Millisecond
	// quietAfter is how long after its last call a replica gives back the slots for calls to come. It then asks the
	// server for nothing but its renewals.
	quietAfter = 5 * time.Second
	// A renewal takes the server about renewalTime, and claimTime for each host and each replica, as measured by
	// BenchmarkRenewal. All replicas together may take a fifth of its time.
	renewalTime = 50 * time.Microsecond
	claimTime   = 100 * time.Nanosecond
	serverPart  = 5
)

// sharing is the division of the hosts of a pool between replicas.
type sharing struct {
	*Client
	pool   *pool.Pool
	leases map[string]int       // slots that were granted, by host; none while the server cannot be asked
	spare  int                  // how many of them are for calls to come
	needs  bool                 // calls were waiting that got no slot
	called time.Time            // when there was a call last
	others int                  // replicas that had leases at the last renewal
	unused map[string]bool      // hosts on which the pool had a slot for a call that goes on waiting, until the others are told
	parts  map[string]pool.Part // what the pool goes by
	heard  map[string]pool.Part // what the others tell of each host; the slots are not set
	told   time.Time            // when they were told last, and heard
	urgent string               // what they were told then that they want to hear at once; see urgent
}

// news is what a replica tells the others of a host.
type news struct {
	Busy    map[string]int `json:"b,omitempty"` // calls there, by model
	Learned map[string]int `json:"l,omitempty"` // slots, by model
	Ill     string         `json:"i,omitempty"` // why the host is sent no calls; "" if it is
	Loading []loadNews     `json:"o,omitempty"` // models that it is loading
	Loaded  []loadNews     `json:"d,omitempty"` // models that it has loaded lately
}

// loadNews is a pool.Load. The names of its members are part of the form of news.
type loadNews struct {
	Model  string        `json:"m"`
	NumCtx int           `json:"c,omitempty"`
	Others string        `json:"o,omitempty"`
	Age    time.Duration `json:"a"` // nanoseconds, as the others
	Takes  time.Duration `json:"t,omitempty"`
	Holds  time.Duration `json:"h,omitempty"`
}

// tellLoads and hearLoads turn loads into news, and news that make sense into loads.
func tellLoads(loads []pool.Load) (all []loadNews) {
	for _, l := range loads {
		all = append(all, loadNews(l))
	}
	return all
}

func hearLoads(told []loadNews) (all []pool.Load) {
	for _, l := range told {
		if l.Model != "" && min(l.Age, l.Takes, l.Holds) >= 0 && l.NumCtx >= 0 {
			all = append(all, pool.Load(l))
		}
	}
	return all
}

// urgent is what others want to hear of hosts at once when it changes: which are ill, and which models they
// are loading.
func urgent(claims []*pool.Claim) string {
	var all []string
	for _, claim := range claims {
		text := fmt.Sprintf("%q %t", claim.Host, claim.Ill != "")
		for _, l := range claim.Loading {
			text += fmt.Sprintf(" %q %d %q", l.Model, l.NumCtx, l.Others)
		}
		all = append(all, text)
	}
	slices.Sort(all) // claims come in another order each time
	return strings.Join(all, "\n")
}

// ShareHosts divides the slots of a pool's hosts with the other replicas, until ctx ends. Then the others may have
// all of them.
func (c *Client) ShareHosts(ctx context.Context, p *pool.Pool) {
	s := &sharing{Client: c, pool: p, unused: make(map[string]bool)}
	defer s.leave()
	s.alone(p.Claims(), 0) // until it is known what the others have, or that it cannot be
	for renewed := (time.Time{}); ; {
		if now := time.Now(); now.Sub(renewed) >= shareInterval || now.Sub(renewed) >= s.pause() && s.hurries() {
			switch {
			case s.renew(now):
				renewed = now
			case c.wasTried():
				s.alone(p.Claims(), c.Replicas())
				renewed = now
			}
		}
		short := p.Short()
		if s.leases == nil || s.needs {
			short = nil // another call that waits is no news
		}
		select {
		case <-time.After(s.interval()):
		case <-short:
			time.Sleep(s.pause() - time.Since(renewed)) // less than hurryInterval, or a little more
		case <-ctx.Done():
			return
		}
	}
}

// interval is how long nothing has to be looked for.
func (s *sharing) interval() time.Duration {
	if s.leases != nil && s.isQuiet() {
		return shareInterval
	}
	return hurryInterval
}

// isQuiet reports whether this replica has had no call for a while.
func (s *sharing) isQuiet() bool { return time.Since(s.called) >= quietAfter }

// pause is the least time between two renewals.
func (s *sharing) pause() time.Duration {
	replicas := time.Duration(s.Replicas())
	return serverPart * replicas * (renewalTime + claimTime*replicas*time.Duration(len(s.leases)))
}

// leave gives back all slots.
func (s *sharing) leave() {
	_, _ = s.do(context.Background(), func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("HDEL").Keys(s.keyOfSlots()).Args(s.id).Build()}
	})
}

// wasTried reports whether it is known if the server can be reached.
func (c *Client) wasTried() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reached
}

// alone has this replica use its part of each host without asking: one of so many, or, for 0, nothing.
func (s *sharing) alone(claims []*pool.Claim, replicas int) {
	s.leases, s.parts = nil, make(map[string]pool.Part)
	for _, claim := range claims {
		switch replicas {
		case 0:
			s.parts[claim.Host] = pool.Part{}
		case 1: // all slots
		default:
			s.parts[claim.Host] = pool.Part{Slots: max(1, claim.Slots/replicas)}
		}
	}
	s.pool.Divide(s.parts)
}

// hurries reports whether leases should be renewed at once: calls wait, or slots are idle that are not for
// calls to come, or that another replica lacks, or there is something to tell.
func (s *sharing) hurries() bool {
	if s.leases == nil {
		return false
	}
	idle, claims := 0, s.pool.Claims()
	if urgent(claims) != s.urgent {
		return true
	}
	for _, claim := range claims {
		if claim.Waits > 0 {
			return true
		}
		s.note(claim)
		idle += max(0, s.leases[claim.Host]-claim.Calls())
	}
	return idle > s.spare || idle > 0 && s.others > 0 && s.anotherLacks()
}

// note notes that there are calls.
func (s *sharing) note(claim *pool.Claim) {
	if claim.Waits > 0 || len(claim.Busy) > 0 {
		s.called = time.Now()
	}
}

// anotherLacks reports whether another replica has calls that wait, and found no slot for them.
func (s *sharing) anotherLacks() bool {
	results, ok := s.do(context.Background(), func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("GET").Keys(s.keyOfLack()).Build()}
	})
	if !ok {
		return false
	}
	id, err := results[0].ToString()
	return err == nil && id != s.id
}

// renew renews the leases of all hosts. It is not ok if the server cannot be asked.
func (s *sharing) renew(now time.Time) (ok bool) {
	if !s.usable.Load() {
		return false
	}
	s.returnIdle()
	claims := s.pool.Claims()
	tells, urgent := "", urgent(claims)
	if now.Sub(s.told) >= shareInterval || urgent != s.urgent {
		tells = s.encodeNews(newsOf(claims))
	}
	results, ok := s.run(leaseScript, s.keysOfSlots(), nil, func(b rueidis.Builder) rueidis.Commands {
		if tells == "" {
			return nil
		}
		return rueidis.Commands{
			b.Arbitrary("HSET").Keys(s.keyOfNews()).Args(s.id, tells).Build(), b.Arbitrary("HGETALL").Keys(s.keyOfNews()).Build(),
		}
	})
	if !ok {
		return false
	}
	if tells != "" {
		s.hear(results[2])
		s.told, s.urgent, s.unused = now, urgent, make(map[string]bool)
	}
	d, ok := s.take(s.request(claims), results[0])
	if !ok {
		return false
	}
	s.unlimited.Store(nil) // scripts are run
	s.use(claims, d)
	return true
}

// take divides the hosts by what was read of the leases, and writes those of this replica. If others take slots
// at the same time, it does so once more; and takes none if that goes on.
func (s *sharing) take(r request, read rueidis.RedisResult) (d division, ok bool) {
	for try := range takeTries {
		state, err := s.readLeases(read)
		if err != nil {
			s.noteRefused(s.keyOfSlots(), err)
			return d, false
		}
		if try == takeTries-1 {
			r.waits, r.spares = 0, false
		}
		d, s.others = r.divide(state), len(state.others)
		takes := ""
		if d.takes {
			takes = state.takes
		}
		args := append([]string{s.id, milliseconds(leaseTime), encodeLeases(d.leases), takes, bit(d.lacks)}, state.gone...)
		results, ok := s.run(leaseScript, s.keysOfSlots(), args, nil)
		if !ok {
			return d, false
		}
		read = results[0]
		written, err := read.ToArray()
		switch {
		case err != nil:
			s.noteRefused(s.keyOfSlots(), err)
			return d, false
		case len(written) == 1:
			return d, true
		}
	}
	return d, false // cannot be, since nothing was to be taken at last
}

// takeTries is how often slots are divided, if others take some each time.
const takeTries = 4

// readLeases reads the leases of all replicas.
func (s *sharing) readLeases(result rueidis.RedisResult) (state leaseState, err error) {
	parts, err := result.ToArray()
	if err != nil {
		return state, err
	}
	if len(parts) != 4 {
		return state, errors.New("the result of a script has another length than expected")
	}
	if state.now, err = parts[1].AsInt64(); err != nil {
		return state, err
	}
	lacks, err := parts[2].ToString()
	state.lacks = err == nil && lacks != s.id
	fields, err := parts[3].AsStrMap()
	if err != nil {
		return state, err
	}
	state.takes = cmp.Or(fields["takes"], "0")
	delete(fields, "takes")
	state.others = make(map[string]leases)
	for id, record := range fields {
		ends, all, ok := decodeLeases(record)
		switch lasts := ends - state.now; {
		case id == s.id:
			state.own = all
		case ok && lasts > 0 && lasts <= 10*leaseTime.Milliseconds():
			state.others[id] = all
		default:
			state.gone = append(state.gone, id)
		}
	}
	return state, nil
}

func (c *Client) keyOfSlots() string    { return c.keyOfLimit("hosts", "slots") }
func (c *Client) keyOfLack() string     { return c.keyOfSlots() + ":lack" }
func (c *Client) keysOfSlots() []string { return []string{c.keyOfSlots(), c.keyOfLack()} }
func (c *Client) keyOfNews() string     { return c.keyOfLimit("hosts", "news") }

// returnIdle has the pool stop to use the slots that are idle, so that they can be given back. It notes which
// of them the pool does not use although calls wait: it expects to serve these sooner elsewhere.
func (s *sharing) returnIdle() {
	for _, claim := range s.pool.Claims() {
		part, ok := s.parts[claim.Host]
		if calls := claim.Calls(); ok && part.Slots > calls {
			s.unused[claim.Host] = claim.Waits > 0
			part.Slots = calls
			s.parts[claim.Host] = part
		}
	}
	s.pool.Divide(s.parts)
}

// request is what is asked for. Hosts that serve no call which waits are brought into
// an order of this replica's own, so that slots for calls to come are not all on the same hosts. So is
// which host is to have a slot for which call, if more are wanted than there are.
func (s *sharing) request(claims []*pool.Claim) request {
	serves := func(claim *pool.Claim) bool { return claim.Waits > 0 && !s.unused[claim.Host] }
	place := make(map[string]uint64, len(claims))
	// After a quiet time a call gets a slot of the host that suits it best, and only the next has others beside it.
	r, waits := request{id: s.id, spares: !s.isQuiet()}, 0.0
	for _, claim := range claims {
		s.note(claim)
		place[claim.Host] = s.place(claim.Host)
		waits += claim.Waits
		if serves(claim) {
			r.serving++
			if !claim.Loads {
				r.ready++
			}
		}
	}
	r.waits = int(math.Round(waits))
	byPlace := func(a, b *pool.Claim) int { return cmp.Compare(place[a.Host], place[b.Host]) }
	slices.SortStableFunc(claims, func(a, b *pool.Claim) int {
		switch x, y := serves(a), serves(b); {
		case x && y: // as the pool has them
			return 0
		case x:
			return -1
		case y:
			return 1
		}
		return byPlace(a, b)
	})
	more, due := make(map[string]int), 0.5
	for _, claim := range slices.SortedFunc(slices.Values(claims[:r.serving]), byPlace) {
		due += claim.Waits
		more[claim.Host] = int(due)
		due -= float64(more[claim.Host])
	}
	for _, claim := range claims {
		calls := claim.Calls()
		r.hosts = append(r.hosts, hostRequest{
			name: url.QueryEscape(s.sealer.name(claim.Host)), keeps: max(calls, s.parts[claim.Host].Slots), wants: calls + more[claim.Host], slots: claim.Slots,
		})
	}
	return r
}

// place is where a host comes in the order of this replica.
func (s *sharing) place(host string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, host+" "+s.id)
	return h.Sum64()
}

// use has the pool use what this replica has after a division.
func (s *sharing) use(claims []*pool.Claim, d division) {
	waits, got := 0.0, 0
	s.leases, s.parts, s.spare = make(map[string]int), make(map[string]pool.Part), d.spare
	for i, claim := range claims {
		part := s.heard[claim.Host]
		part.Loading, part.Loaded = aged(part.Loading, time.Since(s.told)), aged(part.Loaded, time.Since(s.told))
		part.Slots = max(0, min(d.granted[i], d.may[i]))
		s.leases[claim.Host], s.parts[claim.Host] = d.granted[i], part
		waits, got = waits+claim.Waits, got+part.Slots-claim.Calls()
	}
	s.needs = float64(got) < waits-0.5
	s.pool.Divide(s.parts)
}

// aged are loads of which was heard a while ago.
func aged(loads []pool.Load, ago time.Duration) []pool.Load {
	loads = slices.Clone(loads)
	for i := range loads {
		loads[i].Age += ago
	}
	return loads
}

// newsOf is what this replica tells of hosts.
func newsOf(claims []*pool.Claim) map[string]news {
	all := make(map[string]news)
	for _, claim := range claims {
		if len(claim.Busy) > 0 || claim.Learned != nil || claim.Ill != "" || len(claim.Loading)+len(claim.Loaded) > 0 {
			all[claim.Host] = news{claim.Busy, claim.Learned, claim.Ill, tellLoads(claim.Loading), tellLoads(claim.Loaded)}
		}
	}
	return all
}

// hear takes over what the other replicas tell of hosts.
func (s *sharing) hear(result rueidis.RedisResult) {
	told, err := result.AsStrMap()
	if err != nil {
		s.noteUnreadable(s.keyOfNews(), err)
		return
	}
	s.heard = make(map[string]pool.Part)
	for id, text := range told {
		if id == s.id || !s.isBeating(id) {
			continue
		}
		for host, n := range s.decodeNews(text) {
			part, ok := s.heard[host]
			if !ok {
				part = pool.Part{Elsewhere: make(map[string]int), Learned: make(map[string]int)}
			}
			for model, calls := range n.Busy {
				part.Elsewhere[model] += max(0, calls)
			}
			for model, slots := range n.Learned {
				part.Learned[model] = max(part.Learned[model], slots)
			}
			part.Ill = cmp.Or(part.Ill, n.Ill)
			part.Loading = append(part.Loading, hearLoads(n.Loading)...)
			part.Loaded = append(part.Loaded, hearLoads(n.Loaded)...)
			s.heard[host] = part
		}
	}
}

// encodeNews makes a record of what is told of hosts, sealed if there is a key; of nothing if there is too
// much.
func (c *Client) encodeNews(all map[string]news) string {
	for {
		text, _ := json.Marshal(all) // cannot fail
		record, err := c.sealer.encode(c.keyOfNews(), header{}, text)
		if err == nil {
			return string(record)
		}
		clear(all)
	}
}

// decodeNews reads what another replica tells of hosts; nothing if it makes no sense.
func (c *Client) decodeNews(record string) (all map[string]news) {
	if _, data, err := c.sealer.decode(c.keyOfNews(), []byte(record)); err == nil {
		_ = json.Unmarshal(data, &all) // what another version has added is left out
	}
	return all
}
